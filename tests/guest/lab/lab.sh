#!/bin/sh
# The lab: a Debian cloud kernel under QEMU TCG with an emulated AMD-V processor, where /dev/kvm is the real kvm-amd.
#
#   lab.sh prepare DIR
#       makes DIR/lab/vmlinuz and DIR/lab/initrd.gz, once per kernel version (apt, dpkg, cpio, busybox-static; no root)
#   lab.sh run DIR [-t SECONDS] [-m MIB] [-c CPUS] [-f FILE]... [-d DISK]... -- COMMAND...
#       boots, runs the command by sh with the files in /lab (with the shared libraries that they need), prints what it
#       prints and exits with its status; 124 when the time (default 120 s) is over. A DISK is a raw image, shown
#       read-only as /dev/vdb, /dev/vdc ... .  The lab has the host's network, 2 CPUs and 3072 MiB unless told otherwise.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

prepare() {
    out=$1/lab
    mkdir -p "$out"
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    [ -n "$package" ] || { echo "lab.sh: apt knows no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
    version=$(apt-cache show "$package" | awk '/^Version:/ {print $2; exit}')
    stamp="$package $version $(cat "$here/init" "$here/lab.sh" | cksum)"
    [ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ] && return
    rm -rf "$out/work"
    mkdir -p "$out/work/deb" "$out/work/root/bin" "$out/work/root/modules"
    (cd "$out/work/deb" && apt-get download -q "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb tree)
    cp "$out"/work/deb/tree/boot/vmlinuz-* "$out/vmlinuz"
    cp /bin/busybox "$out/work/root/bin/busybox"
    cp "$here/init" "$out/work/root/init"
    chmod 755 "$out/work/root/init"
    for module in $(sed -n 's/^modules="\(.*\)"$/\1/p' "$here/init"); do
        find "$out/work/deb/tree/lib/modules" -name "$module.ko" -exec cp {} "$out/work/root/modules/" \;
    done
    (cd "$out/work/root" && find . | cpio --quiet -o -H newc | gzip -6) >"$out/initrd.gz"
    rm -rf "$out/work"
    echo "$stamp" >"$out/stamp"
}

# The file and the shared libraries that it needs, below the folder given.
add_file() {
    cp -L "$1" "$2/lab/"
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$2$(dirname "$library")"
        cp -Ln "$library" "$2$library"
    done
}

run() {
    out=$1/lab
    shift
    seconds=120 memory=3072 cpus=2 disks=
    payload=$(mktemp -d "${TMPDIR:-/tmp}/yado-lab-XXXXXX")
    trap 'rm -rf "$payload"' EXIT
    mkdir -p "$payload/root/lab"
    while [ $# -gt 0 ]; do
        case $1 in
            -t) seconds=$2; shift 2 ;;
            -m) memory=$2; shift 2 ;;
            -c) cpus=$2; shift 2 ;;
            -f) add_file "$2" "$payload/root"; shift 2 ;;
            -d) disks="$disks -drive file=$2,format=raw,if=virtio,readonly=on"; shift 2 ;;
            --) shift; break ;;
            *) echo "lab.sh: unknown argument $1" >&2; exit 2 ;;
        esac
    done
    printf '%s\n' "$*" >"$payload/root/lab/command"
    tar -C "$payload/root" -cf "$payload/payload.tar" .
    # shellcheck disable=SC2086
    timeout "$seconds" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu EPYC,+svm,+npt -m "$memory" -smp "$cpus" \
        -nodefaults -display none -serial stdio -no-reboot -nic user,model=virtio-net-pci \
        -kernel "$out/vmlinuz" -initrd "$out/initrd.gz" -append 'console=ttyS0 quiet panic=-1 no_timer_check' \
        -drive "file=$payload/payload.tar,format=raw,if=virtio,readonly=on" $disks </dev/null >"$payload/log" 2>&1 || true
    # Only what the command printed; everything where it never began or ended.
    status=$(tr -d '\r' <"$payload/log" | sed -n 's/^yado-lab: status \([0-9]*\)$/\1/p')
    if [ -z "$status" ]; then
        cat "$payload/log"
        echo "lab.sh: no end within $seconds s" >&2
        exit 124
    fi
    tr -d '\r' <"$payload/log" | sed -n '/^yado-lab: begin$/,/^yado-lab: status /p' | sed '1d;$d' | sed '${/^$/d}'
    exit "$status"
}

case ${1:-} in
    prepare) prepare "$2" ;;
    run) shift; prepare "$1"; run "$@" ;;
    *) sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2 ;;
esac
