#!/usr/bin/env python3
"""The same programs natively, in Yado's bt and in QEMU's TCG, interleaved: medians, ratios, geometric means beside the bars.

  bench/prepare.sh build/bench; tests/guest/prepare.sh build/guest     (once; `make bench` does it)
  bench/suite.py --only integer --sides yado,native --runs 1           (quick: prints the table, writes nothing)
  bench/suite.py --only sort --runs 1 --per-cpu-second                 (while others use the machine)
  bench/suite.py --only sort,copy --yado-args "--cpu x86-64-v3"
  bench/suite.py --out bench/results                                   (writes programs.json and programs.md)

Every run boots fresh guests. Each program runs on every side before the next, for about --seconds (at least one round of its
fixed work), and checks its result. The memory rows also run in a TCG guest without ERMS, and the better of the two counts.
"""
import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys

import report
import sides


def chosen(args):
    """The programs that --only names, by name or group."""
    every = sides.programs(args.files)
    wanted = args.only.split(",") if args.only else [row[1] for row in every]
    unknown = set(wanted) - {word for row in every for word in row[:2]}
    if unknown:
        sys.exit(f"suite: no such program or group: {', '.join(sorted(unknown))}")
    return [row for row in every if row[0] in wanted or row[1] in wanted]


def needed(args, group):
    """What makes the sides that run a group, by key: two vCPUs for the parallel one, TCG also without ERMS for memory."""
    cpus = 2 if group == "parallel" else 1
    made = {"native": {("native",): lambda: sides.Native("native", args.files)},
            "yado": {("yado", cpus): lambda: sides.yado(args, cpus)},
            "tcg": {("tcg", cpus): lambda: sides.tcg(args, cpus)}}
    if group == "memory":
        made["tcg"]["tcg-erms", cpus] = lambda: sides.tcg(args, cpus, "tcg-erms", "max,-erms")
    return {key: make for name in args.sides.split(",") for key, make in made[name].items()}


def note(rows, program, side, args):
    name, group, unit = program
    row = rows.setdefault(name, {"group": group, "unit": unit, "values": {}, "sums": {}, "wrong": {}, "absent": {}})
    try:
        step = args.per_cpu_second and group != "parallel"
        value, _, checksum = side.run(name, args.seconds, args.timeout, step)
        row["values"].setdefault(side.name, []).append(value)
        row["sums"][side.name] = checksum
        if len(set(row["sums"].values())) > 1:
            raise sides.Wrong(f"checksums differ: {row['sums']}")
        print(f"  {name}: {side.name} {value:.4g} {unit}", flush=True)
    except sides.Absent as absent:
        row["absent"][side.name] = str(absent)
        print(f"  {name}: {side.name} absent: {absent}", flush=True)
    except sides.Wrong as wrong:
        row["wrong"].setdefault(side.name, []).append(str(wrong))
        print(f"  {name}: {side.name} WRONG: {wrong}", flush=True)


def switch(started, wanted):
    """Ends the sides that the next group does not need and makes those that it needs more; guests boot at their first program."""
    for key in set(started) - set(wanted):
        started.pop(key).end()
    for key in wanted:
        if key not in started:
            started[key] = wanted[key]()


def run_once(rows, listed, args):
    started = {}
    try:
        for program in listed:
            wanted = needed(args, program[1])
            switch(started, wanted)
            for key in wanted:
                note(rows, program, started[key], args)
    finally:
        switch(started, {})


def measure(args):
    rows = {}
    for run in range(args.runs):
        print(f"run {run + 1} of {args.runs}", flush=True)
        run_once(rows, chosen(args), args)
    return rows


def commit():
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=pathlib.Path(__file__).parent)
    return done.stdout.strip()


def host():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="programs or groups, comma-separated")
    parser.add_argument("--sides", default="native,tcg,yado", help="of native,tcg,yado")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a program measures, at least")
    parser.add_argument("--per-cpu-second", action="store_true", help="rates per second of CPU that a side had (not for parallel): "
                        "for machines that others work on")
    parser.add_argument("--timeout", type=float, default=300, help="seconds that a program may take")
    parser.add_argument("--yado", type=pathlib.Path, default=pathlib.Path("build/bin/yado"))
    parser.add_argument("--yado-args", default="", help="more options for `yado run`")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--files", type=pathlib.Path, default=pathlib.Path("build/bench"))
    parser.add_argument("--kernel", type=pathlib.Path, default=pathlib.Path("build/guest/vmlinuz"))
    parser.add_argument("--out", type=pathlib.Path, help="folder for programs.json and programs.md")
    args = parser.parse_args()
    args.files = args.files.resolve()
    if set(args.sides.split(",")) - {"native", "tcg", "yado"}:
        parser.error("--sides takes native, tcg, yado")
    return args


def main():
    args = options()
    rows = measure(args)
    result = {"date": datetime.date.today().isoformat(), "commit": commit(), "host": host(), "runs": args.runs, "per_cpu_second": args.per_cpu_second,
              "yado_args": args.yado_args,
              "rows": rows}
    text = report.tables(result)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "programs.json").write_text(json.dumps(result, indent=1) + "\n")
        (args.out / "programs.md").write_text(text + "\n")
    if any(row["wrong"] for row in rows.values()):
        sys.exit("suite: a program failed or was wrong")


if __name__ == "__main__":
    main()
