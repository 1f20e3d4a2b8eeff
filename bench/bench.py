#!/usr/bin/env python3
"""Yado beside QEMU's TCG on the same work in the same run: medians, their spread, JSON and a table.

Usage: bench.py [--runs 5] [--yado build/bin/yado] [--guest-dir build/guest] [--out bench/results]
Both sides run interleaved, on the same kernel, initramfs and image. Only ratios mean anything: machines are shared.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import tempfile
import time

from console import Console

HERE = pathlib.Path(__file__).resolve().parent


def resident_beyond_ram(pid, ram_marks):
    """Resident KiB of a process without its guest RAM (mappings whose smaps header matches one of ram_marks)."""
    total, ram, in_ram = 0, 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            begin, stop = (int(x, 16) for x in line.split()[0].split("-"))
            in_ram = any(mark(line, stop - begin) for mark in ram_marks)
        elif line.startswith("Rss:"):
            kib = int(line.split()[1])
            total += kib
            ram += kib if in_ram else 0
    return total - ram


class Side:
    def __init__(self, name, small, image, loop, ram_marks, cache_marks):
        self.name, self.small, self.image, self.loop = name, small, image, loop
        self.ram_marks, self.cache_marks = ram_marks, cache_marks


def sides(args, loop, image):
    kernel, initrd = str(args.guest_dir / "vmlinuz"), str(args.guest_dir / "initrd.gz")
    qemu = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-nographic", "-no-reboot", "-nodefaults", "-serial",
            "mon:stdio"]

    def yado_small(tests, cpus=1):
        return [args.yado, "run", "--engine", "bt", "--kernel", kernel, "--initrd", initrd, "--memory", "256M", "--cpus", str(cpus), "--net", "none",
                "--append", f"console=ttyS0 quiet test={tests}"]

    def qemu_small(tests, cpus=1):
        return [*qemu, "-m", "256", "-smp", str(cpus), "-kernel", kernel, "-initrd", initrd, "-append", f"console=ttyS0 quiet test={tests}"]

    def yado_image(cpus):
        return [args.yado, "run", "--engine", "bt", "--cpus", str(cpus), "--memory", "512M", "debian"]

    def qemu_image(cpus):
        return [*qemu, "-m", "512", "-smp", str(cpus), "-kernel", image["kernel"], "-initrd", image["initrd"], "-append", image["append"],
                "-snapshot", "-drive", f"file={image['disk']},if=virtio,format=raw", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]

    return [
        Side("yado", yado_small, yado_image,
             [args.yado, "run", "--engine", "bt", "--kernel", loop, "--memory", "16M", "--net", "none", "--debug-exit", "--console", "none"],
             [lambda line, size: "yado-guest-ram" in line, lambda line, size: size == 32 << 20 and "r-xs" in line],  # the code cache's second mapping
             [lambda line, size: size == 32 << 20]),
        Side("qemu", qemu_small, qemu_image,
             ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", "16", "-display", "none", "-nodefaults", "-device",
              "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel", loop],
             [lambda line, size: size == 256 << 20], [lambda line, size: size >= 32 << 20 and "rwxp" in line or "r-xs" in line]),
    ]


def build_loop(folder, iterations):
    path = folder / f"loop-{iterations}.elf"
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-Ttext=0x200000", "-Wl,-z,noexecstack", "-o", path,
                    HERE / "loop.S"], check=True)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"ITERATNS") + 8, iterations)
    path.write_bytes(data)
    return str(path)


def seconds_of(command):
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=600)
    return time.monotonic() - began


def measure_init(side):
    console = Console(side.small("boot"))
    try:
        return console.until(r"yado-test boot", 300)
    finally:
        console.end()


def measure_login(side, cpus):
    console = Console(side.image(cpus))
    try:
        return console.until(r"login: ", 900)
    finally:
        console.end()


def measure_idle(side):
    """Host CPU per cent of an idle guest, and resident KiB beyond its RAM, with and without the code cache."""
    console = Console(side.small("idle") [:-1] + [side.small("idle")[-1] + " seconds=20"])
    try:
        console.until(r"idle: begins", 300)
        time.sleep(3)  # measuring an idle guest means letting it idle
        before, t0 = console.cpu_seconds(), time.monotonic()
        time.sleep(10)
        share = (console.cpu_seconds() - before) / (time.monotonic() - t0) * 100
        return share, resident_beyond_ram(console.process.pid, side.ram_marks), resident_beyond_ram(console.process.pid, side.ram_marks + side.cache_marks)
    finally:
        console.end()


def answers(path):
    """Whether a guest's control socket answers a request now."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:  # not there yet, or nobody listens yet
            return False
        client.sendall(b"GET /v1/guest HTTP/1.1\r\nHost: guest\r\n\r\n")
        return client.recv(64).startswith(b"HTTP/1.1 200 ")


def start_to_answer(args, engine):
    """Milliseconds from the start of `yado run` until its control socket has answered."""
    name = f"bench{os.getpid()}-{time.monotonic_ns()}"
    home = "/run" if os.geteuid() == 0 else os.environ["XDG_RUNTIME_DIR"]
    console = Console([args.yado, "run", "--engine", engine, "--name", name, "--kernel", str(args.guest_dir / "vmlinuz"), "--initrd",
                       str(args.guest_dir / "initrd.gz"), "--memory", "256M", "--net", "none", "--append", "console=ttyS0 quiet test=boot"])
    try:
        while not answers(pathlib.Path(home) / "yado" / name / "control.sock"):
            if time.monotonic() - console.began > 10:
                raise RuntimeError("no control socket")
            time.sleep(0.0002)
        return (time.monotonic() - console.began) * 1000
    finally:
        console.end()
        subprocess.run([args.yado, "rm", name], check=False, capture_output=True)


def measure_socket(args, engine, starts=20):
    """The median of so many starts."""
    return statistics.median(start_to_answer(args, engine) for _ in range(starts))


def collect(args, folder):
    few, many = 2_000_000, 12_000_000
    image = debian_image(args)
    loops = {n: sides(args, build_loop(folder, n), image) for n in (few, many)}
    both = loops[few]
    rows = {}

    def note(row, side, value):
        rows.setdefault(row, {}).setdefault(side, []).append(value)
        print(f"  {row}: {side} {value:.4g}", flush=True)

    for run in range(args.runs):
        print(f"run {run + 1} of {args.runs}", flush=True)
        for index, side in enumerate(both):
            note("kernel start to /init, s", side.name, measure_init(side))
            short, long = (seconds_of(loops[n][index].loop) for n in (few, many))
            note("instructions of 32-bit code, million a second", side.name, 16 * (many - few) / (long - short) / 1e6)
            share, kib, without_cache = measure_idle(side)
            note("host CPU of an idle guest, %", side.name, share)
            note("resident beyond guest RAM (256 MiB, 1 vCPU), MiB", side.name, kib / 1024)
            note("the same without translated code, MiB", side.name, without_cache / 1024)
            if run < args.logins:
                note("image to login prompt, 1 vCPU, s", side.name, measure_login(side, 1))
                note("image to login prompt, 2 vCPUs, s", side.name, measure_login(side, 2))
        for engine in ("bt", "auto"):
            note(f"process start to the control socket's answer, --engine {engine}, ms", "yado", measure_socket(args, engine))
    return rows


def debian_image(args):
    """Paths of the image's kernel, initrd and disk, and its kernel command line: both sides boot the same files."""
    listed = json.loads(subprocess.run([args.yado, "image", "ls", "--json"], check=True, capture_output=True, text=True).stdout)
    for entry in listed:
        if entry["name"] == "debian":
            return entry
    raise SystemExit("bench: build the image first: yado image build debian")


def table(rows):
    lines = ["| work | Yado bt | QEMU TCG | Yado / QEMU | spread Yado, QEMU |", "|---|---|---|---|---|"]
    for row, by_side in rows.items():
        medians = {s: statistics.median(v) for s, v in by_side.items()}
        spread = ", ".join(f"{min(v):.3g} to {max(v):.3g}" for v in by_side.values())
        qemu = medians.get("qemu")
        ratio = f"{medians['yado'] / qemu:.2f}" if qemu else ""
        lines.append(f"| {row} | {medians['yado']:.3g} | {f'{qemu:.3g}' if qemu else ''} | {ratio} | {spread} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--logins", type=int, default=5, help="in how many of the runs the whole image boots")
    parser.add_argument("--yado", default="build/bin/yado")
    parser.add_argument("--guest-dir", type=pathlib.Path, default=pathlib.Path("build/guest"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench/results"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = collect(args, pathlib.Path(folder))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "first-light.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = table(rows)
    (args.out / "first-light.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
