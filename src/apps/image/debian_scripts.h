// What `yado image build debian` does inside the new system: shell for mmdebstrap's hooks ($1 is its root folder).
//
// Descriptors: 100 takes the package list, 101 the initial RAM disk, 102 the kernel, 103 is the disk image. They are opened
// through /proc/self/fd because a hook may run as another (sub)uid, and because /bin/sh knows no two-digit descriptors.
#pragma once

namespace yado::apps {

inline constexpr int kPackagesFd = 100, kInitrdFd = 101, kKernelFd = 102, kDiskFd = 103;

/// Before the kernel is installed: the image's own initramfs stays small, too.
inline constexpr char kEarlyScript[] = R"SCRIPT(
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=gzip\nBUSYBOX=n\nRESUME=none\nFSTYPE=ext4\n' > "$1/etc/initramfs-tools/conf.d/yado"
cat > "$1/etc/initramfs-tools/hooks/yado" <<'END'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_scsi sd_mod ext4 crc32c_generic crc32c_intel virtio_net virtio_rng
END
chmod 755 "$1/etc/initramfs-tools/hooks/yado"
)SCRIPT";

/// At the end. Units that a guest has no use for are masked, and a login waits for nothing that takes time: it boots fast even on
/// an engine that is slow.
inline constexpr char kLateScript[] = R"SCRIPT(
set -eu
root=$1
echo debian > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n::1\tlocalhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
printf '/dev/vda\t/\text4\terrors=remount-ro,noatime\t0\t0\n' > "$root/etc/fstab"
cat > "$root/etc/apt/sources.list" <<'END'
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
END
rm -f "$root"/etc/apt/sources.list.d/*
cat > "$root/etc/systemd/network/50-dhcp.network" <<'END'
[Match]
Type=ether
[Network]
DHCP=yes
END
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > "$root/etc/systemd/journald.conf.d/yado.conf"
chroot "$root" passwd -q -d root
chroot "$root" systemctl -q disable systemd-networkd-wait-online.service
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer \
  e2scrub_all.timer e2scrub_reap.service systemd-pstore.service getty@tty1.service systemd-networkd-wait-online.service \
  modprobe@drm.service modprobe@configfs.service modprobe@efi_pstore.service modprobe@fuse.service \
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service kmod-static-nodes.service \
  modprobe@loop.service modprobe@dm_mod.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
  systemd-journal-flush.service systemd-network-generator.service
# Login does not wait for the network.
for unit in systemd-user-sessions systemd-resolved; do
  sed -e 's/^Before=sysinit.target/Before=/' -e 's/^After=remote-fs.target nss-user-lookup.target network.target.*/After=local-fs.target/' \
      -e 's/^WantedBy=sysinit.target/WantedBy=multi-user.target/' "$root/lib/systemd/system/$unit.service" > "$root/etc/systemd/system/$unit.service"
done
mkdir -p "$root/etc/systemd/system/serial-getty@.service.d"
printf '[Service]\nType=simple\n' > "$root/etc/systemd/system/serial-getty@.service.d/yado.conf"
chroot "$root" systemctl -q reenable systemd-networkd.service systemd-resolved.service
rm -f "$root/etc/machine-id"
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$root/etc/machine-id"
echo >> "$root/etc/machine-id"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
touch "$root/etc/.updated" "$root/var/.updated"
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root"/var/log/*.log \
  "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*_*
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >/proc/self/fd/100
# The initial RAM disk that stands beside the image: only what finds the root disk, so that it starts fast.
ird=$root/tmp/ird
mkdir -p "$ird/bin" "$ird/dev" "$ird/proc" "$ird/sys" "$ird/root" "$ird/modules"
cp "$root/bin/busybox" "$ird/bin/busybox"
kernel=$(ls "$root/lib/modules" | head -n 1)
add_modules() {  # a list of their files, in the order of loading
  list=$1
  shift
  for module; do
    chroot "$root" modprobe -S "$kernel" --show-depends "$module"
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r path; do
    cp "$root$path" "$ird/modules/"
    echo "/modules/${path##*/}" >> "$ird/modules/$list"
  done
}
add_modules order virtio_pci virtio_blk crc32c_generic ext4
add_modules scsi sd_mod virtio_scsi
cat > "$ird/init" <<'END'
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
root=/dev/vda mode=ro
for word in $($bb cat /proc/cmdline); do
  case $word in root=*) root=${word#root=} ;; rw) mode=rw ;; esac
done
while read -r module; do $bb insmod "$module"; done < /modules/order
case $root in /dev/sd*) while read -r module; do $bb insmod "$module"; done < /modules/scsi ;; esac
tries=0
until [ -b "$root" ]; do
  tries=$((tries + 1))
  [ $tries -gt 100 ] && { echo "no root disk $root"; exec $bb sh; }
  $bb usleep 100000
done
$bb mount -t ext4 -o "$mode" "$root" /root || exec $bb sh
$bb mount -o move /dev /root/dev
$bb umount /proc
exec $bb switch_root /root /sbin/init
END
chmod 755 "$ird/init"
chroot "$root" sh -c 'cd /tmp/ird && find . | cpio --quiet -o -H newc' >/proc/self/fd/101
rm -rf "$ird"
cat "$root"/boot/vmlinuz-* >/proc/self/fd/102
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
view=$(mktemp -d)
if mount --bind "$root" "$view" 2>/dev/null; then tree=$view; else tree=$root; fi
status=0
mke2fs -q -F -t ext4 -L root -m 1 -E root_owner=0:0 -d "$tree" /proc/self/fd/103 || status=$?
[ "$tree" = "$root" ] || umount "$view"
rmdir "$view"
exit $status
)SCRIPT";

}  // namespace yado::apps
