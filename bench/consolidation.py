#!/usr/bin/env python3
"""One, two and three guests at once: what each gets of integer work, floating point, a sequential disk read, and PostMark.

Usage: bench/prepare.sh build/bench; bench/consolidation.py [--sides native,yado,tcg] [--guests 3] [--runs 1] [--out bench/results]

The shape of the consolidation experiment of the Xen literature: the same program starts in all guests together, and the table
has the mean of what a guest gets, and that beside a guest alone. Guests are Debian images (1 vCPU, 512 MiB) with their root on a
throw-away copy, and two raw disks: the programs as a tar, and 256 MiB to read. PostMark is a tenth of the published one: 3000 files
of 1 to 100000 bytes, 3000 transactions. "native" is as many processes on the host. Needs apt's postmark.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import bench
from console import Console

READ_BYTES = 256 << 20
POSTMARK = "set number 3000\\nset transactions 3000\\nset size 1 100000\\nset location {place}\\nset report terse\\nrun\\nquit\\n"


def work(folder, place, disk, seconds):
    """Name, unit, shell command, and what of its output is the rate."""
    read = f"dd if={disk} of=/dev/null bs=1M iflag=direct 2>&1"
    mark = f"mkdir -p {place}; printf '{POSTMARK.format(place=place)}' | {folder}/postmark; rm -rf {place}"
    return [
        ("integer (sort)", "Mkeys/s", f"{folder}/programs sort {seconds}", r"bench sort ([0-9.e+-]+) "),
        ("floating point (scalar)", "Msteps/s", f"{folder}/programs scalar {seconds}", r"bench scalar ([0-9.e+-]+) "),
        ("sequential read", "MB/s", read, r"copied, ([0-9.e+-]+) s"),
        ("PostMark", "seconds", f"date +%s.%N; {{ {mark}; }} >/dev/null; date +%s.%N", r"([0-9]+\.[0-9]+)\s+([0-9]+\.[0-9]+)\s"),
    ]


def rate(name, found):
    if name == "sequential read":
        return READ_BYTES / 1e6 / float(found[1])
    return float(found[2]) - float(found[1]) if name == "PostMark" else float(found[1])


def tools(folder, programs):
    """A tar on a raw disk, which a guest unpacks from the device, and the disk to read."""
    tar, disk = folder / "tools.img", folder / "read.img"
    subprocess.run(["tar", "-cf", tar, "-C", programs, "programs", "-C", "/usr/bin", "postmark"], check=True)
    with open(tar, "ab") as file:
        file.truncate((tar.stat().st_size + (1 << 20)) // 4096 * 4096)
    with open("/dev/urandom", "rb") as source, open(disk, "wb") as file:
        for _ in range(READ_BYTES >> 20):
            file.write(source.read(1 << 20))
    return tar, disk


class Guest:
    """Debian at its root prompt; a command's answer ends with a line of our own."""

    def __init__(self, command, timeout):
        self.console, self.timeout = Console([str(word) for word in command]), timeout

    def log_in(self):
        self.console.find(r"login: ", self.timeout)
        at = self.console.type("root")
        self.console.find(r"# ", self.timeout, at)
        self.finish(self.begin("stty -echo; mkdir -p /run/bench && mount -t tmpfs none /run/bench && tar -xf /dev/vdb -C /run/bench"))

    def begin(self, command):
        return self.console.type(f"{command}; echo all-$((40+2))-done")

    def finish(self, at):
        end = self.console.find(r"all-42-done", self.timeout, at)
        return self.console.text[at:end.start()].replace("\r", "")

    def end(self):
        self.console.end()


class Process:
    """The host itself."""

    def __init__(self, timeout):
        self.timeout = timeout

    def log_in(self):
        pass

    def begin(self, command):
        return subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, running):
        return running.communicate(timeout=self.timeout)[0]

    def end(self):
        pass


def yado_command(args, image, tar, disk):
    return [args.yado, "run", "--engine", "bt", "--cpus", 1, "--memory", "512M", "--net", "none", "--disk", f"path={tar},format=raw,readonly=on",
            "--disk", f"path={disk},format=raw,readonly=on", *args.yado_args.split(), image["name"]]


def tcg_command(_args, image, tar, disk):
    drives = [word for path in (tar, disk) for word in ("-drive", f"file={path},if=virtio,format=raw,readonly=on")]
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-smp", 1, "-m", 512, "-nographic", "-no-reboot",
            "-nodefaults", "-serial", "mon:stdio", "-kernel", image["kernel"], "-initrd", image["initrd"], "-append", image["append"], "-snapshot",
            "-drive", f"file={image['disk']},if=virtio,format=raw", *drives]


def start(side, number, args, image, tar, disk):
    if side == "native":
        return [Process(args.timeout) for _ in range(number)]
    command = yado_command if side == "yado" else tcg_command
    return [Guest(command(args, image, tar, disk), args.timeout) for _ in range(number)]


def measure(side, number, args, image, tar, disk):
    """What each of the guests got, by program."""
    guests = start(side, number, args, image, tar, disk)
    results = {}
    try:
        for guest in guests:
            guest.log_in()
        for which, guest in enumerate(guests):
            guest.own = work(args.files if side == "native" else "/run/bench", f"/var/tmp/postmark{which}", disk if side == "native" else "/dev/vdc", args.seconds)
        for row, (name, _unit, _command, _pattern) in enumerate(guests[0].own):
            running = [guest.begin(guest.own[row][2]) for guest in guests]
            for guest, at in zip(guests, running):
                text = guest.finish(at)
                found = re.search(guest.own[row][3], text)
                if not found:
                    raise SystemExit(f"consolidation: {side}, {name}: no result in {text[-500:]!r}")
                results.setdefault(name, []).append(rate(name, found))
    finally:
        for guest in guests:
            guest.end()
    return results


def table(rows, args):
    numbers = range(1, args.guests + 1)
    heads = " | ".join(f"{n} guest{'s' if n > 1 else ''}" for n in numbers)
    lines = [f"| work | side | {heads} | " + " | ".join(f"{n} over 1" for n in numbers if n > 1) + " |", "|---" * (1 + 2 * args.guests) + "|"]
    for name, unit, _, _ in work("", "", "", 0):
        for side in args.sides.split(","):
            got = {n: statistics.median(rows[f"{side} {n}"][name]) for n in numbers}
            values = " | ".join(f"{got[n]:.3g}" for n in numbers)
            ratios = " | ".join(f"{got[n] / got[1]:.2f}" for n in numbers if n > 1)
            lines.append(f"| {name}, {unit} | {side} | {values} | {ratios} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default="native,yado,tcg", help="of native,yado,tcg")
    parser.add_argument("--guests", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3, help="how long integer and floating point are measured")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--yado", default="build/bin/yado")
    parser.add_argument("--yado-args", default="--cpu host", help="more options for `yado run`")
    parser.add_argument("--files", type=pathlib.Path, default=pathlib.Path("build/bench"))
    parser.add_argument("--out", type=pathlib.Path, help="folder for consolidation.json and consolidation.md")
    args = parser.parse_args()
    args.files = args.files.resolve()
    if not pathlib.Path("/usr/bin/postmark").exists():
        raise SystemExit("consolidation: no postmark: apt-get install postmark")
    (args.files / "postmark").unlink(missing_ok=True)
    (args.files / "postmark").symlink_to("/usr/bin/postmark")  # where native looks

    rows = {}
    with tempfile.TemporaryDirectory(prefix="yado-bench", dir=args.files) as folder:
        tar, disk = tools(pathlib.Path(folder), args.files)
        image = bench.debian_image(args)
        for run in range(args.runs):
            for number in range(1, args.guests + 1):
                for side in args.sides.split(","):
                    began = time.monotonic()
                    for name, values in measure(side, number, args, image, tar, disk).items():
                        rows.setdefault(f"{side} {number}", {}).setdefault(name, []).extend(values)
                    print(f"run {run + 1}: {number} x {side}: {rows[f'{side} {number}']} ({time.monotonic() - began:.0f} s)", flush=True)
    text = table(rows, args)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "consolidation.json").write_text(json.dumps(rows, indent=1) + "\n")
        (args.out / "consolidation.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
