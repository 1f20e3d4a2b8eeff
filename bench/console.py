"""A process on a pseudo-terminal whose output is awaited and to which lines are typed."""
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time


class Console:
    def __init__(self, command):
        master, slave = pty.openpty()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.master, self.text = master, ""

    def until(self, pattern, seconds, after=0):
        """Seconds from the start of the process until the pattern is on the console, in the text after that position."""
        self.find(pattern, seconds, after)
        return time.monotonic() - self.began

    def find(self, pattern, seconds, after=0):
        """Waits for the pattern; its match."""
        end = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.text, after)):
            left = end - time.monotonic()
            if left <= 0 or self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                raise RuntimeError(f"no {pattern!r}: {self.text[-2000:]}")
            if select.select([self.master], [], [], min(left, 0.5))[0]:
                try:
                    self.text += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.01)
        return found

    def type(self, line):
        """Types a line; the position from which the answer starts."""
        at = len(self.text)
        os.write(self.master, f"{line}\n".encode())
        return at

    def cpu_seconds(self):
        """What the processes of its session have used so far, and their children that ended."""
        ticks = 0
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:  # ended meanwhile; its parent counts it
                continue
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == self.process.pid else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
