#!/usr/bin/env python3
"""Disks beside QEMU's, on the same work in the same run: fio in a guest, PostMark in one to three guests, stalls of snapshots, clones, convert.

Usage: bench/prepare.sh build/bench; bench/disks.py [--parts fio,postmark,snapshot,images] [--runs 3] [--out bench/results]

Guests are Debian images (1 vCPU, 512 MiB) under bt and under TCG. fio: direct I/O on a disk of 512 MiB that is allocated whole, 4 KiB at random
at depth 1 and 32, 1 MiB in sequence. PostMark: the published size (30000 files of 1 to 100000 bytes, 30000 transactions) or with --tenth a tenth of it,
on a fresh ext4 on a raw disk of each guest's own; default write-back, and for Yado also a limit and an age. Only ratios mean anything: machines are shared.
Needs apt's fio and postmark.
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
from consolidation import Guest

SIZE = 512 << 20
JOBS = {  # fio's words; what is reported
    "4 KiB random read, depth 1": ("randread", "4k", 1, "iops"),
    "4 KiB random read, depth 32": ("randread", "4k", 32, "iops"),
    "4 KiB random write, depth 1": ("randwrite", "4k", 1, "iops"),
    "4 KiB random write, depth 32": ("randwrite", "4k", 32, "iops"),
    "1 MiB sequential read": ("read", "1M", 4, "bw"),
    "1 MiB sequential write": ("write", "1M", 4, "bw"),
}
FORMATS = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc"}  # ours; QEMU's name
TUNED = "writeback-limit=64M,writeback-age=2s"


def tools(folder):
    """A file system with fio, its libraries, and PostMark."""
    root = folder / "root"
    libraries = re.findall(r"/\S*\.so\S*", subprocess.run(["ldd", "/usr/bin/fio"], check=True, capture_output=True, text=True).stdout)
    for file in ["/usr/bin/fio", "/usr/bin/postmark", *sorted(set(libraries))]:
        target = root / pathlib.Path(file).name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(pathlib.Path(file).read_bytes())
        target.chmod(0o755)
    image = folder / "tools.img"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", root, image, "192m"], check=True)
    return image


class OurGuest(Guest):
    def log_in(self):
        self.console.find(r"login: ", self.timeout)
        at = self.console.type("root")
        self.console.find(r"# ", self.timeout, at)
        self.finish(self.begin("stty -echo; mount -o ro /dev/vdb /mnt"))

    def fio(self, kind, block, depth, unit, seconds):
        command = (f"/mnt/ld-linux-x86-64.so.2 --library-path /mnt /mnt/fio --name=t --filename=/dev/vdc --direct=1 --ioengine=libaio --rw={kind} --bs={block} "
                   f"--iodepth={depth} --runtime={seconds} --ramp_time=1 --time_based --output-format=json --randrepeat=1 --norandommap")
        text = self.finish(self.begin(command))
        job = json.loads(text[text.index("{"):text.rindex("}") + 1])["jobs"][0]["read" if "read" in kind else "write"]
        return job["iops"] if unit == "iops" else job["bw_bytes"] / 1e6

    def postmark_begin(self, number):
        script = f"set number {number}\\nset transactions {number}\\nset size 1 100000\\nset location /data\\nset subdirectories 10\\nset report terse\\nrun\\nquit\\n"
        return self.begin("mke2fs -q -F -t ext4 -E lazy_itable_init=0 /dev/vdc; mkdir -p /data; mount /dev/vdc /data; sync; echo go; date +%s.%N; "
                          f"printf '{script}' | /mnt/ld-linux-x86-64.so.2 --library-path /mnt /mnt/postmark >/dev/null; date +%s.%N; umount /data; date +%s.%N")


def start(side, args, image, tools_image, disk, disk_format, more=""):
    if side == "yado":
        return OurGuest([args.yado, "run", "--engine", "bt", "--cpu", "host", "--cpus", 1, "--memory", "512M", "--net", "none", "--disk",
                         f"path={tools_image},readonly=on", "--disk", f"path={disk},format={disk_format}{',' + more if more else ''}", image["name"]], args.timeout)
    aio = "io_uring" if args.qemu_io_uring else "threads"
    return OurGuest(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-smp", 1, "-m", 512, "-nographic", "-no-reboot", "-nodefaults",
                     "-serial", "mon:stdio", "-kernel", image["kernel"], "-initrd", image["initrd"], "-append", image["append"],
                     "-drive", f"file={image['disk']},if=virtio,format=raw,snapshot=on", "-drive", f"file={tools_image},if=virtio,format=raw,readonly=on",
                     "-drive", f"file={disk},if=virtio,format={FORMATS[disk_format]},cache=writeback,discard=unmap,aio={aio}"], args.timeout)


def make_disk(folder, disk_format, size=SIZE, filled=True):
    path = folder / f"disk.{disk_format}"
    path.unlink(missing_ok=True)
    raw = folder / "fill.raw"
    if not filled:
        subprocess.run(["qemu-img", "create", "-q", "-f", FORMATS[disk_format], path, str(size)], check=True)
        return path
    if not raw.exists():
        with open("/dev/urandom", "rb") as source, open(raw, "wb") as file:
            for _ in range(size >> 20):
                file.write(source.read(1 << 20))
    more = ["-o", "force_size=on"] if disk_format == "vhd" else []
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", FORMATS[disk_format], *more, raw, path], check=True)
    return path


def fio_part(args, image, tools_image, folder):
    rows = {}
    for run in range(args.runs):
        for disk_format in FORMATS:
            for side in ("yado", "tcg"):
                guest = start(side, args, image, tools_image, make_disk(folder, disk_format), disk_format)
                try:
                    guest.log_in()
                    for name, words in JOBS.items():
                        rows.setdefault(f"{name}, {disk_format}", {}).setdefault(side, []).append(guest.fio(*words, args.seconds))
                finally:
                    guest.end()
                print(f"run {run + 1}: fio, {disk_format}, {side}: " + ", ".join(f"{rows[f'{n}, {disk_format}'][side][-1]:.0f}" for n in JOBS), flush=True)
    lines = ["| fio | unit | raw, Yado | over TCG | qcow2, Yado | over TCG | qcow2 over raw | VHD, Yado | over TCG |", "|---" * 9 + "|"]
    for name, words in JOBS.items():
        middle = {(f, s): statistics.median(rows[f"{name}, {f}"][s]) for f in FORMATS for s in ("yado", "tcg")}
        over = {f: middle[f, "yado"] / middle[f, "tcg"] for f in FORMATS}
        lines.append(f"| {name} | {'IOPS' if words[3] == 'iops' else 'MB/s'} | {middle['raw', 'yado']:.0f} | {over['raw']:.2f} | {middle['qcow2', 'yado']:.0f} | {over['qcow2']:.2f} | "
                     f"{middle['qcow2', 'yado'] / middle['raw', 'yado']:.2f} | {middle['vhd', 'yado']:.0f} | {over['vhd']:.2f} |")
    return rows, lines


def postmark_part(args, image, tools_image, folder):
    number = 3000 if args.tenth else 30000
    rows = {}
    shapes = [("yado", "", "Yado"), ("yado", TUNED, f"Yado, {TUNED}"), ("tcg", "", "TCG")]
    for run in range(args.runs):
        for count in range(1, args.guests + 1):
            for side, more, title in shapes:
                disks = []
                for n in range(count):
                    disks.append(folder / f"mark{n}.raw")
                    disks[-1].unlink(missing_ok=True)
                    subprocess.run(["truncate", "-s", str(4 << 30), disks[-1]], check=True)
                guests = [start(side, args, image, tools_image, disk, "raw", more) for disk in disks]
                try:
                    for guest in guests:
                        guest.log_in()
                    begun = [guest.postmark_begin(number) for guest in guests]
                    for guest, at in zip(guests, begun):
                        moments = [float(m) for m in re.findall(r"\b\d{9,}\.\d+", guest.finish(at))]
                        rows.setdefault(f"{title}|{count}", []).append((moments[1] - moments[0], moments[2] - moments[0]))
                finally:
                    for guest in guests:
                        guest.end()
                print(f"run {run + 1}: PostMark, {count} x {title}: {rows[f'{title}|{count}'][-count:]}", flush=True)
    heads = " | ".join(f"{n} guest{'s' if n > 1 else ''}" for n in range(1, args.guests + 1))
    lines = [f"| PostMark, {number} files, seconds (with the sync at its end) | {heads} |", "|---" * (1 + args.guests) + "|"]
    for _, _, title in shapes:
        cells = []
        for count in range(1, args.guests + 1):
            took = rows[f"{title}|{count}"]
            cells.append(f"{statistics.median(t[0] for t in took):.1f} ({statistics.median(t[1] for t in took):.1f})")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return rows, lines


def snapshot_part(args, image, tools_image, folder):
    """How long requests waited for a snapshot, and the longest write that fio saw meanwhile, while it writes 4 KiB at random at depth 8."""
    stalls = {}
    for disk_format in ("raw", "qcow2"):
        for _ in range(args.runs):
            disk = make_disk(folder, disk_format)
            name = f"bench{time.monotonic_ns()}"
            guest = OurGuest([args.yado, "run", "--name", name, "--engine", "bt", "--cpu", "host", "--memory", "512M", "--net", "none", "--disk",
                              f"path={tools_image},readonly=on", "--disk", f"id=data,path={disk},format={disk_format}", image["name"]], args.timeout)
            try:
                guest.log_in()
                at = guest.begin("/mnt/ld-linux-x86-64.so.2 --library-path /mnt /mnt/fio --name=t --filename=/dev/vdc --direct=1 --ioengine=libaio --rw=randwrite --bs=4k "
                                 f"--iodepth=8 --runtime={args.snapshots + 5} --time_based --fdatasync=64 --output-format=json --norandommap")
                time.sleep(3)  # it has started to write; when exactly says nobody
                for n in range(args.snapshots):
                    shown = subprocess.run([args.yado, "snapshot", name, f"s{n}", "--disk-only", "--disk", "data", "--json"], check=True, capture_output=True, text=True)
                    stalls.setdefault(disk_format, []).append(json.loads(shown.stdout)["snapshots"][0]["stall"] / 1e6)
                text = guest.finish(at)
                job = json.loads(text[text.index("{"):text.rindex("}") + 1])["jobs"][0]["write"]
                stalls.setdefault(f"{disk_format}, longest write", []).append(job["lat_ns"]["max"] / 1e6)
            finally:
                guest.end()
            for left in folder.glob("disk.*"):
                left.unlink()
    lines = ["| snapshots of a disk that is written to | median, ms | 99th percentile | longest |", "|---|---|---|---|"]
    for title, values in stalls.items():
        ordered = sorted(values)
        lines.append(f"| {title} | {statistics.median(ordered):.2f} | {ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]:.2f} | {ordered[-1]:.2f} |")
    return stalls, lines


def seconds_of(*command):
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def images_part(args, image, _tools, folder):
    rows = {}
    large, clone = folder / "large.qcow2", folder / "clone.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", large, "100G"], check=True)
    source, target = pathlib.Path(image["disk"]), folder / "converted.qcow2"
    for _ in range(max(args.runs, 3) * 3):
        for title, command in (("yado", [args.yado, "disk", "clone", large, "-f", "qcow2", clone]),
                               ("qemu-img", ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", large, clone])):
            clone.unlink(missing_ok=True)
            rows.setdefault(f"clone of 100 GiB, {title}", []).append(seconds_of(*command) * 1e3)
    for _ in range(args.runs):
        for title, command in (("yado", [args.yado, "disk", "convert", source, "-f", "raw", target]),
                               ("qemu-img", ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-t", "writeback", source, target])):
            target.unlink(missing_ok=True)
            subprocess.run(["sync"], check=True)
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with open(target, "rb+") as file:
                __import__("os").fsync(file.fileno())  # both until the data is on the disk
            rows.setdefault(f"convert of Debian's image to qcow2, {title}", []).append((time.monotonic() - began) * 1e3)
    lines = ["| | median, ms | shortest | longest |", "|---|---|---|---|"]
    lines += [f"| {title} | {statistics.median(v):.1f} | {min(v):.1f} | {max(v):.1f} |" for title, v in rows.items()]
    return rows, lines


PARTS = {"fio": fio_part, "postmark": postmark_part, "snapshot": snapshot_part, "images": images_part}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="how long each of fio's jobs is measured")
    parser.add_argument("--guests", type=int, default=3)
    parser.add_argument("--tenth", action="store_true", help="PostMark: a tenth of the published size")
    parser.add_argument("--snapshots", type=int, default=20, help="how many in a run")
    parser.add_argument("--qemu-io-uring", action="store_true", help="QEMU's aio=io_uring instead of its default, threads")
    parser.add_argument("--timeout", type=float, default=1800)
    parser.add_argument("--yado", default="build/bin/yado")
    parser.add_argument("--files", type=pathlib.Path, default=pathlib.Path("build/bench"))
    parser.add_argument("--out", type=pathlib.Path, help="folder for disks.json and disks.md")
    args = parser.parse_args()
    args.files.mkdir(parents=True, exist_ok=True)
    for program in ("fio", "postmark"):
        if not pathlib.Path("/usr/bin", program).exists():
            raise SystemExit(f"disks: no {program}: apt-get install {program}")
    results, tables = {}, []
    with tempfile.TemporaryDirectory(prefix="yado-disks", dir=args.files.resolve()) as name:
        folder = pathlib.Path(name)
        image, tools_image = bench.debian_image(args), tools(folder)
        for part in args.parts.split(","):
            results[part], lines = PARTS[part](args, image, tools_image, folder)
            tables.append("\n".join(lines))
            print(tables[-1], flush=True)
            if args.out:
                args.out.mkdir(parents=True, exist_ok=True)
                (args.out / "disks.json").write_text(json.dumps(results, indent=1) + "\n")
                (args.out / "disks.md").write_text("\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
