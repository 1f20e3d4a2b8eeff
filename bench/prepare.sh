#!/bin/sh
# Makes the benchmark guest below the folder given: programs (the static binary) and initrd (busybox, the programs, guest/init).
# The kernel is the small guest tests' (tests/guest/prepare.sh). Needs gcc, make, cpio, busybox-static. Quick when nothing changed.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
make -s -C "$here" OUT="$out"

stamp=$(cat "$out/programs" "$here/guest/init" "$here/prepare.sh" | cksum)
[ "$(cat "$out/stamp" 2>/dev/null || true)" = "$stamp" ] && exit 0

root=$out/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/bench" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
cp /bin/busybox "$root/bin/busybox"
cp "$out/programs" "$root/bench/programs"
install -m 755 "$here/guest/init" "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$out/initrd.new"
mv "$out/initrd.new" "$out/initrd"
rm -rf "$root"
echo "$stamp" >"$out/stamp"
