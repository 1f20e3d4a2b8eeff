#!/usr/bin/env python3
"""How late timers fire: natively, in Yado's bt and in QEMU's TCG, in microseconds after the time asked for.

  bench/prepare.sh build/bench; tests/guest/prepare.sh build/guest     (once; `make bench` does it)
  chrt -f 50 bench/timers.py --runs 3                                  (ahead of what else the machine does)

"asleep": clock_nanosleep(TIMER_ABSTIME) by a thread without timer slack, the CPU idle meanwhile. "busy": a POSIX timer's
signal to a thread that computes. Each figure is the median over the runs; a run is a freshly booted guest with one CPU.
"""
import argparse
import pathlib
import re
import statistics

import sides

HERE = pathlib.Path(__file__).resolve().parent
FIGURES = ("minimum", "median", "90 %", "99 %")


def lateness(side, seconds, timeout):
    """By (kind, interval in us): the four figures of one run."""
    try:
        at = side.start("timers", seconds, timeout, False)
        side.console.find(r"bench done 0\s*\n", timeout, at)
        lines = re.findall(r"^late (\w+) (\d+) ([0-9. -]+?)\r?$", side.console.text[at:], re.MULTILINE)
    finally:
        side.end()
    return {(kind, int(interval)): [float(word) for word in figures.split()] for kind, interval, figures in lines}


def table(found):
    yield "| CPU | interval, us | side | " + " | ".join(FIGURES) + " |"
    yield "|---|---|---|" + "---|" * len(FIGURES)
    for kind, interval in sorted({key for runs in found.values() for run in runs for key in run}):
        for name, runs in found.items():
            medians = [statistics.median(run[kind, interval][i] for run in runs) for i in range(len(FIGURES))]
            yield f"| {kind} | {interval} | {name} | " + " | ".join(f"{value:.0f}" for value in medians) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each interval")
    parser.add_argument("--sides", default="native,yado,tcg")
    parser.add_argument("--yado", default=HERE.parent / "build/bin/yado")
    parser.add_argument("--yado-args", default="--cpu host")
    parser.add_argument("--files", type=pathlib.Path, default=HERE.parent / "build/bench")
    parser.add_argument("--kernel", default=HERE.parent / "build/guest/vmlinuz")
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--timeout", type=float, default=120)
    args = parser.parse_args()
    make = {"native": lambda: sides.Native("native", args.files), "yado": lambda: sides.yado(args, 1), "tcg": lambda: sides.tcg(args, 1)}
    found = {name: [] for name in args.sides.split(",")}
    for _ in range(args.runs):
        for name, runs in found.items():
            runs.append(lateness(make[name](), args.seconds, args.timeout))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
