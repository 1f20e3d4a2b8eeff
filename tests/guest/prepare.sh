#!/bin/sh
# Makes what the small guest tests boot, below the folder given: vmlinuz (Debian's cloud kernel) and initrd.gz (busybox, the virtio
# modules, tests/guest/init and blocks.c). Done once per kernel version; needs apt, dpkg, cpio, gzip, busybox-static.
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
cd "$out"

package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
[ -n "$package" ] || { echo "prepare.sh: apt knows no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
version=$(apt-cache show "$package" | awk '/^Version:/ {print $2; exit}')
stamp="$package $version $(cat "$here/init" "$here/prepare.sh" "$here/blocks.c" | cksum)"
[ "$(cat stamp 2>/dev/null || true)" = "$stamp" ] && exit 0

rm -rf work && mkdir -p work/root/bin work/root/modules work/root/dev work/root/proc work/root/sys work/root/mnt work/deb
(cd work/deb && apt-get download -q "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb tree)
cp work/deb/tree/boot/vmlinuz-* vmlinuz.new
cp work/deb/tree/boot/System.map-* System.map.new
cp /bin/busybox work/root/bin/busybox
for module in crc32c-intel virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk failover net_failover rng-core pvpanic pvpanic-mmio \
    virtio_net virtio-rng virtio_balloon virtio_console scsi_common scsi_mod sd_mod virtio_scsi; do
    find work/deb/tree/lib/modules -name "$module.ko" -exec cp {} work/root/modules/ \;
done
cp "$here/init" work/root/init
gcc -O2 -static -o work/root/bin/blocks "$here/blocks.c"
chmod 755 work/root/init
(cd work/root && find . | cpio --quiet -o -H newc | gzip -6) >initrd.gz.new
mv vmlinuz.new vmlinuz && mv System.map.new System.map && mv initrd.gz.new initrd.gz
rm -rf work
echo "$stamp" >stamp
