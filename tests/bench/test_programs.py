"""The benchmark's programs on the host: right answers pass, wrong ones fail, and the runner understands what they say."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import sides

FILES = pathlib.Path(os.environ.get("YADO_BENCH_FILES", "build/bench")).resolve()
NEEDS_ANOTHER_CPU = {"fma", "avx2"}  # absent without AVX2


def run(program, **environment):
    return subprocess.run([FILES / "programs", program, "0.001"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "BENCH_FILES": str(FILES), **environment})


class Programs(unittest.TestCase):
    def test_every_program_gives_its_checksum_on_the_host(self):
        for name, _, unit in sides.programs(FILES):
            with self.subTest(name):
                done = run(name)
                if name in NEEDS_ANOTHER_CPU and done.returncode == 3:
                    continue
                self.assertEqual(done.returncode, 0, done.stdout)
                value, said_unit, _ = sides.parse(done.stdout, name)
                self.assertGreater(value, 0)
                self.assertEqual(said_unit, unit)

    def test_a_wrong_answer_fails_the_program(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(FILES / "sealed.cms", folder)
            sealed = bytearray((pathlib.Path(folder) / "sealed.cms").read_bytes())
            sealed[len(sealed) // 2] ^= 1
            (pathlib.Path(folder) / "sealed.cms").write_bytes(sealed)
            done = run("aes256gcm", BENCH_FILES=folder)
        self.assertEqual(done.returncode, 1)
        with self.assertRaises(sides.Wrong):
            sides.parse(done.stdout, "aes256gcm")

    def test_an_unknown_program_is_refused(self):
        self.assertEqual(run("nothing").returncode, 2)


class Runner(unittest.TestCase):
    def test_a_rate_per_second_of_cpu_is_measured_between_the_marks(self):
        side = sides.Native("native", FILES)
        try:
            value, unit, checksum = side.run("sort", 0.1, 60, step=True)
        finally:
            side.end()
        self.assertGreater(value, 0)
        self.assertEqual((unit, checksum), ("Mkeys/s", sides.parse(run("sort").stdout, "sort")[2]))

    def test_a_side_that_ends_early_is_wrong_and_not_waited_for(self):
        side = sides.InGuest("yado", ["sh", "-c", "echo bench ready; read line; echo gone"])
        with self.assertRaisesRegex(sides.Wrong, "gone"):
            side.run("sort", 0.1, 60, step=False)
        self.assertIsNone(side.console)

    def test_what_a_program_says_is_told_apart(self):
        self.assertEqual(sides.parse("noise\nbench sort 12.5 Mkeys/s af\n", "sort"), (12.5, "Mkeys/s", "af"))
        with self.assertRaisesRegex(sides.Absent, "no AVX2"):
            sides.parse("bench fma absent: no AVX2\n", "fma")
        with self.assertRaisesRegex(sides.Wrong, "checksum"):
            sides.parse("bench sort wrong: checksum 0x1, not 0x2\n", "sort")
        with self.assertRaises(sides.Wrong):
            sides.parse("bench sort 12.5 Mkeys/s af\n", "hash")


if __name__ == "__main__":
    unittest.main()
