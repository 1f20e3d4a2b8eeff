#!/bin/sh
# Makes the benchmark guest below the folder given: programs (the static binary), sealed.cms, and initrd (busybox, the programs, the
# host's openssl, zstd and gzip with their libraries, guest/init). The kernel is the small guest tests' (tests/guest/prepare.sh).
# Needs gcc, make, cpio, busybox-static, openssl, zstd, gzip. Quick when nothing changed.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
tools="/usr/bin/openssl /usr/bin/zstd /usr/bin/gzip"
make -s -C "$here" OUT="$out"

# shellcheck disable=SC2086
stamp=$(cat "$out/programs" "$here/guest/init" "$here/prepare.sh" $tools | cksum)
[ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ] && exit 0

root=$out/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/bench" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/usr/lib/ssl"
cp /bin/busybox "$root/bin/busybox"
# shellcheck disable=SC2086
for file in $tools $(ldd $tools | grep -o '/[^ ]*\.so[^ :]*' | sort -u); do install -D "$file" "$root$file"; done
: >"$root/usr/lib/ssl/openssl.cnf"

# what the guest's AES-256-GCM must open: the key is that of programs/crypto.c
key=000102030405060708090a0b0c0d0e0f
"$out/programs" text 262144 |
    openssl cms -encrypt -binary -aes-256-gcm -secretkey $key$key -secretkeyid 01 -outform DER -out "$out/sealed.cms"
cp "$out/programs" "$out/sealed.cms" "$root/bench/"
install -m 755 "$here/guest/init" "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$out/initrd.new"
mv "$out/initrd.new" "$out/initrd"
rm -rf "$root"
echo "$stamp" >"$out/stamp"
