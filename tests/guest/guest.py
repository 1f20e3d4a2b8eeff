"""Runs guests for the tests: `yado run` on a pseudo-terminal, with a deadline, and nothing left behind."""
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time

YADO = os.environ.get("YADO", "build/bin/yado")
FILES = pathlib.Path(os.environ.get("YADO_GUEST_DIR", "build/guest"))


class Guest:
    """A `yado run` in the foreground: its terminal's text so far is in .text, its exit status in .status after wait()."""

    def __init__(self, *arguments: str, under: tuple = ()):
        self.text = ""
        self.status = None
        master, slave = pty.openpty()
        self.process = subprocess.Popen([*under, YADO, "run", *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.master = master

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)

    def _read(self, timeout: float) -> bool:
        if not select.select([self.master], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern: str, seconds: float, after: int = 0) -> re.Match:
        """Waits until the pattern appears in the text after position `after`; AssertionError with the tail otherwise."""
        end = time.monotonic() + seconds
        while True:
            found = re.compile(pattern).search(self.text, after)
            if found:
                return found
            left = end - time.monotonic()
            if left <= 0 or not self._read(min(left, 1.0)):
                raise AssertionError(f"no {pattern!r} within {seconds} s; the console ends with:\n{self.text[-3000:]}")

    def type(self, text: str) -> int:
        """Types; returns the position from which the answer starts."""
        at = len(self.text)
        os.write(self.master, text.encode())
        return at

    def wait(self, seconds: float) -> int:
        """Waits for the end of the process; its exit status."""
        end = time.monotonic() + seconds
        while self._read(0.2) and time.monotonic() < end:
            pass
        try:
            self.status = self.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s; the console ends with:\n{self.text[-3000:]}") from None
        return self.status

    def results(self, name: str) -> list[str]:
        """What the small guest's test said: the lines `yado-test NAME: ...`."""
        return re.findall(rf"yado-test {name}: ([^\r\n]*)", self.text)


def small_guest(tests: str, *arguments: str, append: str = "", memory: str = "256M", under: tuple = ()) -> Guest:
    """Debian's cloud kernel with tests/guest/init doing the named tests; `under` is a command that runs yado."""
    return Guest("--kernel", str(FILES / "vmlinuz"), "--initrd", str(FILES / "initrd.gz"), "--memory", memory,
                 "--append", f"console=ttyS0 quiet panic=-1 test={tests} {append}".strip(), *arguments, under=under)
