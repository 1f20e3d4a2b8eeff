"""Where a benchmark program runs: on the host itself, or in a guest of Yado or of QEMU's TCG."""
import os
import pathlib
import re
import subprocess

from console import Console


class Wrong(Exception):
    """A program failed, gave a wrong checksum, or did not end in time."""


def parse(text, name):
    """Value, unit and checksum of a program's output."""
    found = re.search(rf"^bench {re.escape(name)} ([0-9.e+-]+) (\S+) ([0-9a-f]+)\s*$", text, re.MULTILINE)
    if not found:
        raise Wrong(" ".join(text.split())[-300:] or "no output")
    return float(found[1]), found[2], found[3]


class Native:
    def __init__(self, name, files):
        self.name, self.files = name, files

    def run(self, program, seconds, timeout):
        scratch = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
        environment = {**os.environ, "BENCH_FILES": str(self.files), "TMPDIR": scratch}
        try:
            done = subprocess.run([self.files / "programs", program, str(seconds)], capture_output=True, text=True, timeout=timeout,
                                  env=environment)
        except subprocess.TimeoutExpired:
            raise Wrong(f"not done within {timeout} s") from None
        return parse(done.stdout + done.stderr, program)

    def end(self):
        pass


class InGuest:
    """A guest that waits for names of programs on its console; started when the first is run, and again after a failure."""

    def __init__(self, name, command):
        self.name, self.command, self.console = name, command, None

    def run(self, program, seconds, timeout):
        try:
            if self.console is None:
                self.console = Console(self.command)
                self.console.until(r"bench ready\s*\n", timeout)
            at = self.console.type(f"{program} {seconds}")
            self.console.until(r"bench done \d+\s*\n", timeout, at)
        except (RuntimeError, OSError) as failure:
            self.end()
            raise Wrong(f"not done within {timeout} s: {' '.join(str(failure).split())[-300:]}") from None
        return parse(self.console.text[at:].replace("\r", ""), program)

    def end(self):
        if self.console is not None:
            self.console.end()
        self.console = None


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
