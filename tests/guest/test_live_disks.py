"""Disks of running guests: snapshots and commits under load, limits, and a process that is killed at any moment.

YADO_LOAD=long kills a hundred times a shape; a few times otherwise."""
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from blocks import Model
from guest import YADO, small_guest
from test_disks import BOOT, yado

LONG = os.environ.get("YADO_LOAD") == "long"
KILLS = int(os.environ.get("YADO_KILLS", "100" if LONG else "2"))
SIZE = 32 << 20


def flushed(guest) -> int:
    return max((int(n) for n in re.findall(r"blocks: flushed (\d+)\r", guest.text)), default=0)


class LiveDisk(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.name = f"live-{os.getpid()}"

    def create(self, name: str, *more: str) -> pathlib.Path:
        yado("disk", "create", str(self.folder / name), "--size", str(SIZE), *more)
        return self.folder / name

    def run_blocks(self, disk: str, first: int, batches: int, *more: str):
        return small_guest("blocks", "--net", "none", "--engine", "bt", "--name", self.name, "--disk", disk, *more, append=f"first={first} batches={batches}")

    @staticmethod
    def await_free(image: pathlib.Path):
        """A killed process's files are closed a little after its end: yado waits for that, the other one does not."""
        yado("disk", "info", str(image), "-f", "auto")

    def shown(self, image: pathlib.Path, format: str, chained: bool = False) -> bytes:
        """By another implementation, which also checks it."""
        self.await_free(image)
        qemu = {"vhd": "vpc"}.get(format, format)
        if format == "qcow2":
            checked = subprocess.run(["qemu-img", "check", "-f", qemu, str(image)], capture_output=True, text=True)
            self.assertIn(checked.returncode, (0, 3), checked.stdout + checked.stderr)  # 3: leaked clusters alone
        if format != "raw":
            yado("disk", "check", str(image), "-f", format)
        raw = self.folder / "shown.raw"
        if chained and format == "vhd":  # which the other one does not know
            raw.unlink(missing_ok=True)
            yado("disk", "convert", str(image), "-f", format, "--backing", "folder", str(raw))
            return raw.read_bytes()
        if format == "vhdx":  # its log is replayed in a copy: the image itself is for yado to mend
            copy = self.folder / "copy.vhdx"
            shutil.copyfile(image, copy)
            subprocess.run(["qemu-img", "check", "-q", "-f", "vhdx", "-r", "all", str(copy)], check=True)
            image = copy
        subprocess.run(["qemu-img", "convert", "-f", qemu, "-O", "raw", str(image), str(raw)], check=True)
        return raw.read_bytes()[:SIZE]

    def after(self, guest, count: int):
        """Until so many more batches were flushed."""
        end = flushed(guest) + count
        guest.expect(rf"blocks: flushed {end}\r", BOOT)

    # snapshots and commits

    def test_a_snapshot_has_the_moment_and_the_guest_goes_on(self):
        for file, format, base in (("a.qcow2", "qcow2", "a.before.qcow2"), ("b.img", "raw", "b.before.img"), ("c.vhd", "vhd", "c.before.vhd")):
            with self.subTest(format):
                image = self.create(file)
                with self.run_blocks(f"path={image},format={format}", 1, 400) as guest:
                    guest.expect(r"flushed 50\r", BOOT)
                    before = flushed(guest)
                    job = json.loads(yado("snapshot", self.name, "before", "--disk-only", "--json"))
                    made, = job["snapshots"]
                    self.after(guest, 20)
                    then = self.shown(self.folder / base, format)
                    self.assertEqual(guest.wait(BOOT), 0, guest.text[-2000:])
                self.assertIn("all 400 batches", guest.results("blocks")[-1])
                self.assertEqual(made["base"], str(self.folder / base))
                self.assertEqual(Model(SIZE).cut_off(before, then), [])  # what was flushed when the command was given, at least
                whole = Model(SIZE)
                whole.AHEAD = 0
                self.assertEqual(whole.cut_off(400, self.shown(pathlib.Path(made["active"]), made["format"], chained=True)), [])

    def test_commits_under_load(self):
        base = self.create("base.img")
        yado("disk", "clone", str(base), "-f", "raw", str(self.folder / "a.qcow2"))
        with self.run_blocks(f"path={self.folder / 'a.qcow2'},format=qcow2,backing=folder", 1, 600) as guest:
            for _ in range(4):
                self.after(guest, 40)
                yado("commit", self.name, "disk0")
            self.assertEqual(guest.wait(BOOT), 0, guest.text[-2000:])
        self.assertIn("all 600 batches", guest.results("blocks")[-1])
        whole = Model(SIZE)
        whole.AHEAD = 0
        self.assertEqual(whole.cut_off(600, self.shown(self.folder / "a.qcow2", "qcow2")), [])
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["a.qcow2", "base.img", "shown.raw"])

    def test_limits_hold_and_can_be_changed(self):
        image = self.create("a.img")
        with self.run_blocks(f"path={image},format=raw,limit-iops=1", 1, 30) as guest:
            guest.expect("blocks: flushed 1\r", BOOT)
            yado("limit", self.name, "disk0", "--iops", "0")
            self.assertEqual(guest.wait(BOOT), 0, guest.text[-2000:])
            self.assertIn("all 30 batches", guest.results("blocks")[-1])

    # kills

    def kill_again_and_again(self, disk: str, judge, while_running=lambda guest: None):
        """Starts, waits for some flushed batches, kills; `judge` says what the disk shows then."""
        chance = random.Random(1)
        model = Model(SIZE)
        for kill in range(KILLS):
            with self.subTest(kill=kill), self.run_blocks(disk, model.done + 1, 1_000_000) as guest:
                guest.expect(rf"flushed {model.done + 1 + chance.randrange(40)}\r", BOOT)
                while_running(guest)
                guest._read(chance.random() * 0.05)
                guest.process.kill()
                guest.wait(BOOT)
                self.assertNotIn("WRONG", guest.text)
                self.assertEqual(model.cut_off(flushed(guest), judge()), [])

    def test_what_was_flushed_survives_a_kill(self):
        for file, format in (("a.qcow2", "qcow2"), ("a.vhd", "vhd"), ("a.vhdx", "vhdx"), ("a.img", "raw")):
            with self.subTest(format):
                image = self.create(file)
                self.kill_again_and_again(f"path={image},format={format}", lambda: self.shown(image, format))

    def test_a_kill_in_the_middle_of_snapshots_and_commits_loses_nothing(self):
        base = self.create("base.img")
        image = self.folder / "a.qcow2"
        yado("disk", "clone", str(base), "-f", "raw", str(image))
        chance = random.Random(2)
        jobs = []

        def begin(guest):
            word = ["snapshot", self.name, f"s{len(jobs)}", "--disk-only"] if chance.random() < 0.3 else ["commit", self.name, "disk0"]
            jobs.append(subprocess.Popen([YADO, *word], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            guest._read(chance.random() * 0.1)

        self.kill_again_and_again(f"path={image},format=qcow2,backing=folder", lambda: self.shown(image, "qcow2"), begin)
        for job in jobs:
            job.wait(BOOT)


if __name__ == "__main__":
    unittest.main()
