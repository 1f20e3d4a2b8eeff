"""A Debian guest under load on the software engine: compilers, interpreters with and without a JIT, databases, debuggers, signals and changing
code have to find what the host found natively (load/answers), and stress-ng's checks must hold.

By default each part runs for seconds, on one machine shape. YADO_LOAD=long runs all of it on every shape (processors, CPU model), stress-ng for
YADO_LOAD_SECONDS (600) each, and boots YADO_LOAD_BOOTS (50) times; YADO_LOAD_SHAPES="1:x86-64-v2 4:host" chooses shapes."""
import os
import pathlib
import re
import subprocess
import unittest

from guest import FILES, Guest

HERE = pathlib.Path(__file__).parent
LONG = os.environ.get("YADO_LOAD") == "long"
SECONDS = int(os.environ.get("YADO_LOAD_SECONDS", "600" if LONG else "8"))
BOOTS = int(os.environ.get("YADO_LOAD_BOOTS", "50"))
IMAGE = pathlib.Path(os.environ.get("YADO_IMAGE_DIR", "/var/cache/yado/images"), "debian")
ANSWERS = "levels+openssl+sqlite,git+node+python,gcc+gdb" if LONG else "node+gcc+python+gdb+sqlite"


def shapes() -> list[tuple[str, str]]:
    every = "1:x86-64-v2 2:x86-64-v2 4:x86-64-v2 2:x86-64-v3 4:host 1:host"
    chosen = os.environ.get("YADO_LOAD_SHAPES", every if LONG else "2:x86-64-v2")
    level3 = "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
    return [(cpus, model) for cpus, model in (word.split(":") for word in chosen.split()) if level3 or model != "x86-64-v3"]


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["sh", str(HERE / "load" / "prepare.sh"), str(FILES.resolve())], check=True)

    def guest(self, cpus: str, model: str, tests: str, seconds: int) -> Guest:
        return Guest("--engine", "bt", "--cpus", cpus, "--cpu", model, "--memory", "1G", "--net", "none", "--no-reboot", "--kernel", str(FILES / "load.kernel"),
                     "--initrd", str(FILES / "load.initrd"), "--disk", f"path={FILES / 'load.img'},format=raw,snapshot=on",
                     "--append", f"console=ttyS0 quiet panic=-1 test={tests} seconds={seconds}")

    def run_on(self, cpus: str, model: str, tests: str, limit: int, seconds: int) -> Guest:
        with self.guest(cpus, model, tests, seconds) as guest:
            self.assertEqual(guest.wait(limit), 0, guest.text[-4000:])
        self.assertRegex(guest.results("begin")[0], rf"^{cpus} cpus")
        self.assertEqual(guest.results("kernel"), ["0 complaints"], guest.text[-6000:])
        return guest

    def on_every_shape(self, tests: str, expected: dict[str, str], limit: int, seconds: int = SECONDS):
        """`tests` as load/run has them: one after the other with a comma, at once with a plus."""
        for cpus, model in shapes():
            with self.subTest(f"{cpus} {model}"):
                guest = self.run_on(cpus, model, tests, limit, seconds)
                for name in re.split("[,+]", tests):
                    self.assertRegex(str(guest.results(name)[:1]), expected.get(name, "same, "), guest.text[-6000:])

    def test_programs_find_what_they_find_natively(self):
        self.on_every_shape(ANSWERS, {}, 3000)

    def test_signals_changing_code_and_watchpoints(self):
        wrong = r"wrong: patched 0, published 0, moved 0, flipped 0, data 0; often"
        self.on_every_shape("signals,codes,watch", {"signals": "[xy]mm, wrong 0, interrupted often", "codes": wrong, "watch": "3 hits"}, SECONDS * 4 + 600,
                            SECONDS // 4 + 4)

    def test_stress_ng_verifies(self):
        clean = "status 0, 0 failures"
        self.on_every_shape("stress,vectors" if LONG else "stress", {"stress": clean, "vectors": clean}, SECONDS * 4 + 900)

    @unittest.skipUnless(LONG, "YADO_LOAD=long")
    def test_libraries_test_themselves(self):
        self.on_every_shape("suite,speed", {"suite": "SUCCESS", "speed": "status 0"}, 3000)

    @unittest.skipUnless(LONG and (IMAGE / "root.img").exists(), "YADO_LOAD=long, and an image: yado image build debian")
    def test_debian_boots_again_and_again(self):
        for cpus in ("1", "2", "4"):
            for boot in range(BOOTS):
                with self.subTest(f"{cpus} processors, boot {boot}"), Guest("debian", "--engine", "bt", "--cpus", cpus) as guest:
                    guest.expect(r"login: ", 420)
                    at = guest.type("root\n")
                    guest.expect(r"[#] ", 120, at)
                    at = guest.type("echo complaints-$(dmesg | grep -E -c 'BUG:|Oops|soft lockup|rcu.*stall|Call Trace|segfault') cpus-$(nproc)\n")
                    self.assertEqual(guest.expect(r"complaints-(\d+) cpus-(\d+)", 60, at).groups(), ("0", cpus), guest.text[-3000:])
                    guest.type("poweroff\n")
                    self.assertEqual(guest.wait(240), 0, guest.text[-3000:])


if __name__ == "__main__":
    unittest.main()
