#!/bin/sh
# Installs what building, testing and running need on Debian 12. Quick and silent when all is there.
set -eu

packages="
  g++ cmake ninja-build make pkg-config mold ccache git python3
  libfmt-dev libprotobuf-dev protobuf-compiler libboost1.81-dev liburing-dev libslirp-dev
  nlohmann-json3-dev libcli11-dev libtomlplusplus-dev libzydis-dev libxbyak-dev libxxhash-dev
  zlib1g-dev libzstd-dev libnbd-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  mmdebstrap e2fsprogs lz4 cpio uidmap busybox-static openssl zstd acpica-tools qemu-system-x86 qemu-utils libnbd-bin gdb postmark
"

missing=
for package in $packages; do
  dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if ! grep -q '^ID=debian' /etc/os-release || ! grep -q '^VERSION_ID="12"' /etc/os-release; then
  echo "setup: this is not Debian 12; install the equivalents of:$missing" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "setup: run as root, or install sudo; missing:$missing" >&2; exit 1; }
  sudo=sudo
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
