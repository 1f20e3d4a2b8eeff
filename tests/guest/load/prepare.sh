#!/bin/sh
# Makes what test_load.py boots, below the folder given: load.img (a Debian with compilers, interpreters, stress-ng and this folder as /load),
# load.kernel and load.initrd. What `answers` computes is computed natively on the way and lies in /load/expected: the guest has to find
# the same. Done once per change; needs apt, mmdebstrap, e2fsprogs, cpio, gzip, busybox-static.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
cd "$out"

packages=stress-ng,gcc,libc6-dev,libstb-dev,openssl,python3,libpython3.11-testsuite,sqlite3,git,nodejs,gdb,procps,util-linux
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
[ -n "$kernel" ] || { echo "prepare.sh: apt knows no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
stamp="$kernel $packages $(cat "$here"/* | cksum)"
[ "$(cat load.stamp 2>/dev/null || true)" = "$stamp" ] && exit 0

rm -rf load.work && mkdir -p load.work/deb load.work/root/bin load.work/root/modules load.work/root/dev load.work/root/proc load.work/root/mnt
(cd load.work/deb && apt-get download -q "$kernel" >/dev/null 2>&1 && dpkg-deb -x ./*.deb tree)
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc16 crc32c_generic crc32c-intel mbcache jbd2 ext4; do
    path=$(find load.work/deb/tree/lib/modules -name "$module.ko")
    [ -n "$path" ] || continue   # built in
    cp "$path" load.work/root/modules/
    echo "/modules/$module.ko" >>load.work/root/modules/order
done
cp /bin/busybox load.work/root/bin/busybox
cp "$here/init" load.work/root/init
chmod 755 load.work/root/init
cp load.work/deb/tree/boot/vmlinuz-* load.kernel
(cd load.work/root && find . | cpio --quiet -o -H newc | gzip -6) >load.initrd

mkdir load.work/load
cp "$here"/* load.work/load/
rm -f load.img.new && truncate -s 2G load.img.new
exec 9<>load.img.new
mmdebstrap --quiet --variant=minbase --include="$packages" --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $out/load.work/load /" --customize-hook='chroot "$1" sh /load/answers /load/expected >&2' \
    --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*; view=$(mktemp -d); mount --bind "$1" "$view"
        mke2fs -q -F -t ext4 -m 1 -E root_owner=0:0 -d "$view" /proc/self/fd/9; umount "$view"' \
    bookworm - >/dev/null
mv load.img.new load.img
rm -rf load.work
echo "$stamp" >load.stamp
