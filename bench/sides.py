"""Where a benchmark program runs: on the host itself, or in a guest of Yado or of QEMU's TCG."""
import os
import pathlib
import re
import subprocess

from console import Console


class Wrong(Exception):
    """A program failed, gave a wrong checksum, or did not end in time."""


class Absent(Exception):
    """The side's CPU lacks what the program needs."""


def parse(text, name):
    """Value, unit and checksum of a program's output."""
    found = re.search(rf"^bench {re.escape(name)} ([0-9.e+-]+) (\S+) ([0-9a-f]+)\s*$", text, re.MULTILINE)
    absent = re.search(rf"^bench {re.escape(name)} absent: (.*\S)", text, re.MULTILINE)
    if absent:
        raise Absent(absent[1])
    if not found:
        raise Wrong(" ".join(text.split())[-300:] or "no output")
    return float(found[1]), found[2], found[3]


class Side:
    """Runs programs. With step, a program says when its timed part begins and ends, and rates become those per second of CPU."""

    def __init__(self, name):
        self.name, self.console = name, None

    def run(self, program, seconds, timeout, step):
        """Value, unit, checksum; raises Wrong or Absent."""
        try:
            at = self.start(program, seconds, timeout, step)
            share = self.cpu_share(timeout, at) if step else 1
            self.console.find(r"bench done \d+\s*\n", timeout, at)
            value, unit, checksum = parse(self.console.text[at:].replace("\r", ""), program)
        except (RuntimeError, OSError) as failure:
            self.end()
            raise Wrong(f"not done within {timeout} s: {' '.join(str(failure).split())[-300:]}") from None
        return value / share, unit, checksum

    def cpu_share(self, timeout, at):
        """In how much of the program's timed part this side's process ran."""
        begin = self.console.find(r"bench (begin|done) .*\n", timeout, at)
        if begin[1] == "done":
            return 1
        before = self.console.cpu_seconds()
        self.console.type("")
        passed = float(self.console.find(r"bench (?:end|done) ([0-9.]+)\s*\n", timeout, at)[1])
        used = self.console.cpu_seconds() - before
        self.console.type("")
        return max(used, 0.001) / passed if passed else 1

    def end(self):
        if self.console is not None:
            self.console.end()
        self.console = None


class Native(Side):
    """On the host itself, each program a process."""

    def __init__(self, name, files):
        super().__init__(name)
        self.files = files

    def start(self, program, seconds, timeout, step):
        self.end()
        scratch = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
        command = ["env", f"BENCH_FILES={self.files}", f"TMPDIR={scratch}", *(["BENCH_STEP=1"] if step else []),
                   str(self.files / "programs"), program, str(seconds)]
        self.console = Console(command)
        return 0


class InGuest(Side):
    """In a guest that waits for names of programs on its console; started when the first is run, and again after a failure."""

    def __init__(self, name, command):
        super().__init__(name)
        self.command = command

    def start(self, program, seconds, timeout, step):
        if self.console is None:
            self.console = Console(self.command)
            self.console.find(r"bench ready\s*\n", timeout)
        return self.console.type(f"{program} {seconds}{' step' if step else ''}")


def yado(args, cpus):
    command = [args.yado, "run", "--engine", "bt", "--cpus", str(cpus), "--memory", args.memory, "--net", "none", "--kernel", args.kernel,
               "--initrd", args.files / "initrd", "--append", "console=ttyS0 quiet", *args.yado_args.split()]
    return InGuest("yado", [str(word) for word in command])


def tcg(args, cpus, name="tcg", cpu="max"):
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", cpu, "-smp", str(cpus), "-m", args.memory,
               "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel", args.kernel, "-initrd", args.files / "initrd",
               "-append", "console=ttyS0 quiet"]
    return InGuest(name, [str(word) for word in command])


def programs(files: pathlib.Path):
    """The list that the binary gives: (name, group, unit)."""
    listed = subprocess.run([files / "programs", "list"], check=True, capture_output=True, text=True).stdout
    return [tuple(line.split()) for line in listed.splitlines()]
