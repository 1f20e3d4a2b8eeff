"""Disks that come and go while a guest runs, over native PCI Express hot-plug."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

from guest import YADO, small_guest

BOOT = 180  # seconds that a boot may take on a slow, shared machine
STEP = 120  # and one command
SIZE = 32 << 20


def status_of(*words: str) -> int:
    done = subprocess.run([YADO, *words], capture_output=True, text=True, timeout=STEP)
    print(f"yado {' '.join(words)}: status {done.returncode} {done.stderr.strip()}")
    return done.returncode


def is_free(path: pathlib.Path) -> bool:
    with open(path, "r+b") as file:
        try:
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
        except OSError:
            return False
    return True


class Hotplug(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.name = f"hotplug-{self._testMethodName[5:30].replace('_', '-')}-{os.getpid()}"

    def image(self, name: str = "data.img") -> pathlib.Path:
        path = pathlib.Path(self.folder.name, name)
        with open(path, "wb") as image:
            image.truncate(SIZE)
        return path

    @contextlib.contextmanager
    def guest(self, *arguments: str, append: str = ""):
        with small_guest("commands", "--engine", "bt", "--net", "none", "--name", self.name, *arguments, append=append) as guest:
            self.running = guest
            guest.expect("commands: ready", BOOT)
            yield guest

    def do(self, command: str) -> str:
        """Runs a line in the guest; what it printed."""
        at = self.running.type(command + "\n")
        self.running.expect(r"commands: status \d+", STEP, after=at)
        answer = self.running.text[at:].replace("\r", "")
        return answer[answer.index("\n") + 1:]

    def attach(self, path: pathlib.Path, name: str = "data1") -> int:
        return status_of("attach", self.name, "--disk", f"path={path},id={name}")

    def detach(self, *words: str) -> int:
        return status_of("detach", self.name, *words)

    def await_disk(self, disk: str = "vda"):
        self.assertIn("status 0", self.do(f"while [ ! -b /dev/{disk} ]; do usleep 50000; done"))

    def await_no_disk(self, disk: str = "vda"):
        self.assertIn("status 0", self.do(f"while [ -b /dev/{disk} ]; do usleep 50000; done"))

    def load(self, then: str):
        """Writes and reads the disk for as long as it is there, by a node of its own: writing to /dev/vda when that is gone would make a file."""
        self.do("rm -f /node; mknod /node b $(tr : ' ' </sys/block/vda/dev); (while dd if=/dev/zero of=/node bs=64k count=500 conv=fsync 2>/dev/null; do true; done) & "
                "(while dd if=/node of=/dev/null bs=4k count=500 iflag=direct 2>/dev/null; do true; done) & " + then)

    def info(self) -> str:
        return subprocess.run([YADO, "info", self.name], capture_output=True, text=True, timeout=STEP, check=True).stdout

    def test_a_disk_comes_is_written_goes_and_comes_again(self):
        image = self.image()
        with self.guest():
            self.assertIn("port4", self.info())
            self.assertEqual(self.attach(image), 0)
            self.await_disk()
            self.assertIn(str(SIZE // 512), self.do("cat /sys/block/vda/size"))
            self.assertIn("data1", self.do("cat /sys/block/vda/serial; echo"))
            self.do("dd if=/dev/urandom of=/pattern bs=64k count=64 2>/dev/null; dd if=/pattern of=/dev/vda bs=64k conv=fsync 2>/dev/null")
            said = self.do("sha256sum </pattern")
            self.assertFalse(is_free(image))
            self.assertEqual(self.detach("data1"), 0)
            self.assertTrue(is_free(image))
            self.assertIn(hashlib.sha256(image.read_bytes()[: 4 << 20]).hexdigest(), said)
            self.await_no_disk()
            self.assertNotIn("data1", self.info())
            self.assertEqual(self.attach(image), 0)
            self.await_disk()
            self.assertIn(said.split()[0], self.do("dd if=/dev/vda bs=64k count=64 2>/dev/null | sha256sum"))

    def test_every_port_takes_a_disk_and_no_more(self):
        with self.guest("--hotplug-ports", "9", "--cpus", "2"):
            for n in range(9):
                self.assertEqual(self.attach(self.image(f"{n}.img"), f"data{n}"), 0)
            self.assertEqual(self.attach(self.image("more.img"), "more"), 4)
            self.await_disk("vdi")
            self.assertIn("yado-test commands: status 0", self.do("for d in a b c d e f g h i; do dd if=/dev/zero of=/dev/vd$d bs=64k count=8 conv=fsync 2>/dev/null || false; done"))
            for n in range(9):
                self.assertEqual(self.detach(f"data{n}"), 0)
            self.await_no_disk("vdi")

    def test_a_disk_in_use_goes_when_it_is_asked_for_while_it_is_written(self):
        image = self.image()
        with self.guest():
            self.assertEqual(self.attach(image), 0)
            self.await_disk()
            self.load("exec 3</dev/vda")
            self.assertEqual(self.detach("data1"), 0)
            self.assertTrue(is_free(image))
            self.do("exec 3<&-; wait")
            self.await_no_disk()

    def test_a_disk_that_is_pulled_out_while_it_is_written_leaves_a_guest_that_takes_the_next(self):
        image = self.image()
        with self.guest("--cpus", "2"):
            for _ in range(3):
                self.assertEqual(self.attach(image), 0)
                self.await_disk()
                self.load("usleep 300000")
                self.assertEqual(self.detach("data1", "--force"), 0)
                self.assertTrue(is_free(image))
                self.do("wait")
                self.await_no_disk()

    def test_a_disk_stays_over_a_reboot(self):
        with self.guest() as guest:
            self.assertEqual(self.attach(self.image()), 0)
            self.await_disk()
            at = guest.type("reboot -f\n")
            guest.expect("commands: ready", BOOT, after=at)
            self.await_disk()
            self.assertEqual(self.detach("data1"), 0)
            self.await_no_disk()

    def test_a_slot_that_the_guest_powers_off_and_on_keeps_its_disk(self):
        with self.guest():
            self.assertEqual(self.attach(self.image()), 0)
            self.await_disk()
            for _ in range(3):
                self.load("echo 0 >/sys/bus/pci/slots/1/power")
                self.await_no_disk()
                self.do("wait")
                self.assertIn("data1, no power", self.info())
                self.do("echo 1 >/sys/bus/pci/slots/1/power")
                self.await_disk()
            self.do("echo 0 >/sys/bus/pci/slots/1/power")
            self.assertEqual(self.detach("data1"), 0)

    def test_a_guest_without_a_hot_plug_driver_keeps_its_disk_until_it_is_reset(self):
        image = self.image()
        with self.guest(append="pcie_ports=compat") as guest:
            self.assertEqual(self.attach(image), 0)
            self.assertEqual(self.detach("data1"), 0)  # the slot never had power
            self.assertEqual(self.attach(image), 0)
            at = len(guest.text)
            self.assertEqual(status_of("reset", self.name), 0)
            guest.expect("commands: ready", BOOT, after=at)
            self.await_disk()  # found at boot
            self.assertEqual(self.detach("data1", "--timeout", "1"), 7)
            self.assertFalse(is_free(image))
            self.assertIn("asked to let it go", self.info())
            self.await_disk()
            at = len(guest.text)
            self.assertEqual(status_of("reset", self.name), 0)
            guest.expect("commands: ready", BOOT, after=at)
            self.assertTrue(is_free(image))
            self.assertIn("status 1", self.do("[ -b /dev/vda ]"))


if __name__ == "__main__":
    unittest.main()
