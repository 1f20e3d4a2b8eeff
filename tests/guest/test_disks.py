"""What a running guest's disk can do: on a SCSI controller, on a host disk that is full."""
import contextlib
import hashlib
import os
import pathlib
import subprocess
import tempfile
import unittest

from guest import YADO, small_guest

BOOT = 180  # seconds that a boot may take on a slow, shared machine
SIZE = 24 << 20


def yado(*words: str) -> str:
    done = subprocess.run([YADO, *words], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"yado {' '.join(words)}: status {done.returncode}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def small_file_system(size: str):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


class ScsiDisks(unittest.TestCase):
    def test_scsi_disks_are_written_discarded_and_read_only(self):
        with tempfile.TemporaryDirectory() as folder:
            first, sealed = pathlib.Path(folder, "first.qcow2"), pathlib.Path(folder, "sealed.img")
            yado("disk", "create", str(first), "--size", "16M")
            content = os.urandom(1 << 20)
            sealed.write_bytes(content)
            with small_guest("scsi", "--net", "none", "--disk", f"path={first},format=qcow2,bus=scsi,serial=first,queues=2",
                             "--disk", f"path={sealed},bus=scsi,serial=sealed,readonly=on") as guest:
                self.assertEqual(guest.wait(BOOT), 0, guest.text[-3000:])
                said = guest.results("scsi")
                written = said.pop(4)
                self.assertEqual(said, ["32768 sectors, rotates 0, write back", "YADO DISK", "written blocks read back", "discarded",
                                        "cache write through", "written through", "sealed 1 " + hashlib.sha256(content).hexdigest(),
                                        "sealed refuses", "0 errors"])
            raw = pathlib.Path(folder, "raw.img")
            yado("disk", "convert", str(first), "-f", "qcow2", str(raw))
            image = raw.read_bytes()
            self.assertEqual("written " + hashlib.sha256(image[:1 << 20]).hexdigest(), written)
            self.assertEqual(image[1 << 20:2 << 20], bytes(1 << 20))
            self.assertEqual(image[4 << 20:(4 << 20) + 65536], image[:65536])
            self.assertEqual(sealed.read_bytes(), content)


class FullDisk(unittest.TestCase):
    bus = "virtio"

    def image(self, folder: str) -> pathlib.Path:
        path = pathlib.Path(folder, "disk.img")
        with open(path, "wb") as image:
            image.truncate(SIZE)
        return path

    def start(self, image: pathlib.Path, name: str, more: str = ""):
        return small_guest("fill", "--net", "none", "--name", name, "--disk", f"path={image},bus={self.bus}{more}", append=f"disk={self.bus}")

    def await_pause(self, guest, name: str, reason: str):
        for _ in range(BOOT * 2):
            shown = yado("info", name)
            if "paused: " in shown:
                self.assertIn(f"paused: disk disk0: {reason}", shown)
                return
            guest._read(0.5)
        self.fail("the guest was not paused; its console ends with:\n" + guest.text[-3000:])

    def check_whole(self, guest, image: pathlib.Path):
        self.assertEqual(guest.wait(BOOT), 0, guest.text[-3000:])
        self.assertEqual(guest.results("fill")[1:], ["written", "sum " + hashlib.sha256(image.read_bytes()).hexdigest(), "0 errors"])

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_a_full_file_system_pauses_the_guest_and_room_lets_it_go_on(self):
        name = f"full-{os.getpid()}"
        with small_file_system("16m") as folder:
            image = self.image(folder)
            with self.start(image, name) as guest:
                guest.expect("fill: ready", BOOT)
                guest.type("go\n")
                self.await_pause(guest, name, "No space left on device")
                yado("resume", name)  # nothing has changed: it pauses again
                self.await_pause(guest, name, "No space left on device")
                subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
                yado("resume", name)
                self.check_whole(guest, image)

    def test_a_file_size_limit_pauses_the_guest_too(self):
        name = f"limit-{os.getpid()}"
        with tempfile.TemporaryDirectory() as folder:
            image = self.image(folder)
            with self.start(image, name) as guest:
                guest.expect("fill: ready", BOOT)
                subprocess.run(["prlimit", "--pid", str(guest.process.pid), f"--fsize={SIZE // 2}:unlimited"], check=True)
                guest.type("go\n")
                self.await_pause(guest, name, "File too large")
                subprocess.run(["prlimit", "--pid", str(guest.process.pid), "--fsize=unlimited:unlimited"], check=True)
                yado("resume", name)
                self.check_whole(guest, image)

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_a_guest_with_requests_kept_back_can_be_reset_and_stopped(self):
        name = f"stop-{os.getpid()}"
        with small_file_system("16m") as folder:
            with self.start(self.image(folder), name) as guest:
                first = guest.expect("fill: ready", BOOT).end()
                guest.type("go\n")
                self.await_pause(guest, name, "No space left on device")
                yado("reset", name)
                yado("resume", name)
                guest.expect("fill: ready", BOOT, after=first)
                guest.type("go\n")
                self.await_pause(guest, name, "No space left on device")
                yado("stop", "--force", name)
                self.assertEqual(guest.wait(BOOT), 0, guest.text[-3000:])

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_where_errors_are_reported_the_guest_sees_them(self):
        name = f"report-{os.getpid()}"
        with small_file_system("16m") as folder:
            with self.start(self.image(folder), name, ",on-error=report") as guest:
                guest.expect("fill: ready", BOOT)
                guest.type("go\n")
                self.assertEqual(guest.wait(BOOT), 0, guest.text[-3000:])
                self.assertNotIn("written", guest.results("fill"))
                self.assertNotIn("0 errors", guest.results("fill"))


class FullScsiDisk(FullDisk):
    bus = "scsi"


if __name__ == "__main__":
    unittest.main()
