"""Debian's cloud kernel with an initramfs: processors, disks, network, entropy, time, resets and crashes."""
import hashlib
import http.server
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest

from guest import small_guest

BOOT = 180  # seconds that a boot may take on a slow, shared machine


def perf_works() -> bool:
    try:
        return subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class SmallGuest(unittest.TestCase):
    def finish(self, guest, status=0):
        self.assertEqual(guest.wait(BOOT), status, guest.text[-3000:])

    def test_one_processor_boots_and_powers_off_with_status_0(self):
        with small_guest("boot,time", "--net", "none") as guest:
            self.finish(guest)
            self.assertRegex(guest.results("boot")[0], r"init runs, 1 cpus")
            self.assertIn(guest.results("time")[0], ("slept 2", "slept 3"))

    def test_two_processors_compute_the_same(self):
        with small_guest("boot,smp", "--net", "none", "--cpus", "2") as guest:
            self.finish(guest)
            self.assertRegex(guest.results("boot")[0], r"init runs, 2 cpus")
            self.assertEqual(guest.results("smp"), ["1 distinct of 2"])

    @unittest.skipUnless("avx2" in pathlib.Path("/proc/cpuinfo").read_text(), "the host is below x86-64-v3")
    def test_a_level_3_processor_keeps_vector_registers_apart(self):
        with small_guest("boot,vector", "--net", "none", "--cpus", "2", "--cpu", "x86-64-v3") as guest:
            self.finish(guest)
            letters = str.maketrans("0123456789", "abcdefghij")
            lines = sorted(str(n) for n in range(1, 6001))
            expected = hashlib.sha256("".join(f"{line.translate(letters)}\n" for line in lines).encode()).hexdigest()
            self.assertEqual(guest.results("vector"), ["shows abm avx2 bmi1 bmi2 f16c fma movbe ", f"1 distinct of 4, {expected}"])

    def test_eight_processors_come_up(self):
        with small_guest("boot", "--net", "none", "--cpus", "8") as guest:
            self.finish(guest)
            self.assertRegex(guest.results("boot")[0], r"init runs, 8 cpus")

    def test_memory_above_4_gib_is_used(self):
        with small_guest("boot", "--net", "none", memory="5G") as guest:
            self.finish(guest)
            self.assertGreater(int(guest.results("boot")[0].split(", ")[2].split()[0]), 4_800_000)

    def test_the_guest_clock_is_kvmclock_or_tsc(self):
        with small_guest("boot", "--net", "none") as guest:
            self.finish(guest)
            self.assertRegex(guest.results("boot")[0], r"clock (kvm-clock|tsc)")

    def test_disks_read_and_write_back(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = pathlib.Path(folder, "a.img"), pathlib.Path(folder, "b.img")
            content = os.urandom(3 << 20)
            first.write_bytes(content)
            second.write_bytes(bytes(4 << 20))
            with small_guest("disk", "--net", "none", "--disk", f"path={first},format=raw,readonly=on",
                             "--disk", f"path={second},format=raw") as guest:
                self.finish(guest)
                said = guest.results("disk")
                self.assertEqual(said[0], "sum " + hashlib.sha256(content).hexdigest())
                self.assertEqual(said[1], "written blocks read back")
                self.assertEqual(said[2], "written " + hashlib.sha256(second.read_bytes()[: 2 << 20]).hexdigest())
            self.assertEqual(first.read_bytes(), content)

    def test_packed_rings_carry_disks_and_network(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = pathlib.Path(folder, "a.img"), pathlib.Path(folder, "b.img")
            content = os.urandom(1 << 20)
            first.write_bytes(content)
            second.write_bytes(bytes(4 << 20))
            with small_guest("disk,net,rng", "--net", "user", "--rings", "packed", "--disk", f"path={first},readonly=on",
                             "--disk", f"path={second}") as guest:
                self.finish(guest)
                self.assertEqual(guest.results("disk")[0], "sum " + hashlib.sha256(content).hexdigest())
                self.assertIn("written blocks read back", guest.results("disk"))
                self.assertIn("dhcp answered", guest.results("net"))

    def test_virtio_console_shows_and_types(self):
        with small_guest("hvc", "--net", "none", "--console-device", "virtio") as guest:
            guest.expect(r"yado-test hvc: shown", BOOT)
            guest.type("typed words\n")
            self.finish(guest)
            self.assertIn("read typed words", guest.results("hvc"))

    def test_a_snapshot_disk_keeps_the_image_as_it_was(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = pathlib.Path(folder, "a.img"), pathlib.Path(folder, "b.img")
            first.write_bytes(bytes(1 << 20))
            second.write_bytes(bytes(4 << 20))
            with small_guest("disk", "--net", "none", "--disk", f"path={first},format=raw",
                             "--disk", f"path={second},format=raw,snapshot=on") as guest:
                self.finish(guest)
                self.assertIn("written blocks read back", guest.results("disk"))
            self.assertEqual(second.read_bytes(), bytes(4 << 20))

    def test_the_network_reaches_the_host(self):
        page = os.urandom(300_000)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with small_guest("net", "--net", "user", append=f"port={server.server_port}") as guest:
                self.finish(guest)
                self.assertIn("dhcp answered", guest.results("net"))
                self.assertIn("http " + hashlib.sha256(page).hexdigest(), guest.results("net"))
        finally:
            server.shutdown()
            server.server_close()

    def test_entropy_comes_from_virtio_rng(self):
        with small_guest("rng", "--net", "none") as guest:
            self.finish(guest)
            self.assertRegex(guest.results("rng")[0], r"^virtio_rng\S* 64 bytes")

    def test_no_mitigation_costs_time(self):
        with small_guest("vulnerabilities", "--net", "none") as guest:
            self.finish(guest)
            for line in guest.results("vulnerabilities"):
                self.assertNotRegex(line, r"Vulnerable|PTI|Retpolines|Clear CPU buffers")

    def test_a_reboot_starts_the_guest_again_and_no_reboot_ends_it_with_0(self):
        with small_guest("reboot", "--net", "none", "--no-reboot") as guest:
            self.finish(guest, 0)
        with small_guest("reboot", "--net", "none") as guest:
            first = guest.expect("yado-test reboot: now", BOOT).end()
            guest.expect("yado-test reboot: now", BOOT, after=first)

    def test_translator_and_interpreter_agree_on_a_whole_boot(self):
        with small_guest("boot,vector", "--net", "none", "--engine", "bt", "--check", "sampled") as guest:
            guest.expect("yado-test end", 600)
            self.finish(guest)
            self.assertRegex(guest.results("vector")[1], "^1 distinct of 4")

    @unittest.skipUnless(perf_works(), "perf cannot record here")
    def test_perf_shows_translated_code_by_the_guests_symbols(self):
        with tempfile.TemporaryDirectory() as folder:
            symbols, data = pathlib.Path(folder, "symbols"), pathlib.Path(folder, "data")
            symbols.write_bytes(bytes(16 << 20))
            with small_guest("symbols", "--net", "none", "--disk", f"path={symbols}") as guest:
                self.finish(guest)
                size = int(guest.results("symbols")[0].split()[0])
            os.truncate(symbols, size)
            record = ("perf", "record", "-q", "-e", "cpu-clock", "-o", str(data))
            with small_guest("boot", "--net", "none", "--engine", "bt", "--perf", "map", "--system-map", str(symbols), under=record) as guest:
                self.finish(guest)
            report = subprocess.run(["perf", "report", "-i", data, "--stdio", "--sort", "dso,sym"], capture_output=True, text=True, check=True).stdout
            for used in re.findall(r"\[JIT\] tid (\d+)", report):
                pathlib.Path(f"/tmp/perf-{used}.map").unlink(missing_ok=True)
            shown = set(re.findall(r"\[JIT\] tid.*\[\.\] ([a-z_]\w*)\s*$", report, re.MULTILINE))
            known = {line.split()[2] for line in symbols.read_text().splitlines()}
            self.assertGreater(len(shown & known), 5, report[:5000])

    def test_a_panic_is_exit_status_8(self):
        with small_guest("panic", "--net", "none", append="panic=0") as guest:
            self.finish(guest, 8)


if __name__ == "__main__":
    unittest.main()
