"""Bare-metal guests that mean harm, on whole machines: what the user sees of them, and that the machine stays in hand."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from guest import YADO, Guest

PAYLOADS = pathlib.Path(os.environ.get("YADO_PAYLOADS", "build/payload"))
WAIT = 120
# Of one vCPU: its code cache, the blocks that it decodes, and its TLB; then RAM and the program itself.
MOST_A_PROCESSOR, MOST_BESIDES = 80 << 20, 120 << 20


def payload(name: str, *arguments: str) -> Guest:
    return Guest("--kernel", str(PAYLOADS / f"{name}.elf"), "--memory", "32M", "--net", "none", "--rng", "off", "--balloon", "off", "--debug-exit", "--engine", "bt", *arguments)


def resident(process: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{process}/status").read_text())[1]) << 10


class Hostile(unittest.TestCase):
    def test_hostile_code_ends_well(self):
        for name in ("hostile", "flood"):
            with self.subTest(name), payload(name, "--no-reboot") as guest:
                self.assertEqual(guest.wait(WAIT), 0, guest.text[-3000:])
                self.assertNotIn("FAIL", guest.text)

    def test_a_triple_fault_is_status_8_without_reboots(self):
        for name in ("triple", "nowhere"):
            with self.subTest(name), payload(name, "--no-reboot") as guest:
                self.assertEqual(guest.wait(WAIT), 8, guest.text[-3000:])
                self.assertIn("triple fault: now", guest.text)

    def test_a_triple_fault_resets_the_machine(self):
        for name in ("triple", "nowhere"):
            with self.subTest(name), payload(name) as guest:
                at = 0
                for _ in range(4):
                    at = guest.expect("triple fault: now", WAIT, after=at).end()

    def stays_in_hand(self, cpus: int):
        """Endless new and rewritten code: it goes on, right; the control socket answers; memory is bounded."""
        with tempfile.TemporaryDirectory() as folder:
            os.environ["YADO_RUNTIME_DIR"] = folder
            self.addCleanup(os.environ.pop, "YADO_RUNTIME_DIR", None)
            with payload("endless", "--cpus", str(cpus), "--name", "endless") as guest:
                line = r"endless: processors (\d+) computed (\d+) rewritten (\d+) flooded (\d+) wrong (\d+)\s"
                at, seen = guest.expect(line, WAIT).end(), []
                for _ in range(6):
                    found = guest.expect(line, WAIT, after=at)
                    at = found.end()
                    seen.append([int(n) for n in found.groups()])
                    subprocess.run([YADO, "info", "endless", "--json"], check=True, capture_output=True, timeout=WAIT)
                self.assertEqual([line[0] for line in seen], [min(cpus, 3)] * 6)
                self.assertEqual([line[4] for line in seen], [0] * 6)
                for column in (1, 2, 3):   # everybody gets on
                    self.assertGreater(seen[-1][column], seen[0][column])
                self.assertLess(resident(guest.process.pid), cpus * MOST_A_PROCESSOR + MOST_BESIDES)
                info = json.loads(subprocess.run([YADO, "info", "endless", "--json"], check=True, capture_output=True, timeout=WAIT).stdout)
                self.assertIn("endless", json.dumps(info))
                for verb in ("pause", "resume"):
                    subprocess.run([YADO, verb, "endless"], check=True, capture_output=True, timeout=WAIT)
                guest.expect(line, WAIT, after=len(guest.text))
                subprocess.run([YADO, "stop", "--force", "endless"], check=True, capture_output=True, timeout=WAIT)
                self.assertEqual(guest.wait(WAIT), 0)

    def test_endless_code_leaves_one_processor_in_hand(self):
        self.stays_in_hand(1)

    def test_endless_code_on_two_processors_leaves_the_third_in_peace(self):
        self.stays_in_hand(3)


if __name__ == "__main__":
    unittest.main()
