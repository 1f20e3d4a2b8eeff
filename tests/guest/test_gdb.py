"""GDB itself on guests of the software engine: a bare-metal payload with symbols, and Linux with two processors."""
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

from guest import Guest, small_guest

PAYLOADS = pathlib.Path(os.environ.get("YADO_PAYLOADS", "build/payload"))
BOOT = 180
WAIT = 60


class Debugged(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.socket = str(pathlib.Path(folder.name, "gdb.sock"))

    def gdb(self, *commands: str, symbols: str = "") -> str:
        """Runs GDB over the commands, the first of which connect; what it printed. GDB ends at the first command that fails."""
        script = ["set pagination off", "set confirm off", "set width 0", f"target remote {self.socket}", *commands]
        arguments = ["gdb", "-nx", "-batch", *[word for c in script for word in ("-ex", c)]]
        if symbols:
            arguments.append(str(PAYLOADS / f"{symbols}.linked"))
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT)
        return done.stdout

    def payload(self, name: str) -> Guest:
        guest = Guest("--kernel", str(PAYLOADS / f"{name}.elf"), "--memory", "16M", "--net", "none", "--rng", "off", "--balloon", "off",
                      "--debug-exit", "--no-reboot", "--engine", "bt", "--gdb", f"unix:{self.socket}", "--gdb-wait")
        guest.expect("waits for GDB: target remote", WAIT)
        return guest

    def test_a_payload_is_stopped_looked_at_stepped_and_let_go(self):
        with self.payload("exceptions") as guest:
            text = self.gdb("p $rip == (unsigned long)&start", "break payload_main", "continue", "p $cs", "p/x $cr0 & 0x80000001", "x/i $rip",
                            "stepi", "p $rip > (unsigned long)&payload_main", "bt", "info threads", "detach", symbols="exceptions")
            self.assertIn("$1 = 1", text)
            self.assertRegex(text, r"Breakpoint 1, 0x\w+ in payload_main \(\)")
            self.assertIn("$2 = 8", text)
            self.assertIn("$3 = 0x80000001", text)
            self.assertRegex(text, r"=> 0x\w+ <payload_main>:")
            self.assertIn("$4 = 1", text)
            self.assertRegex(text, r"#1 .* in payload_start \(\)")
            self.assertIn("(vCPU 0, running)", text)
            self.assertEqual(guest.wait(WAIT), 0, guest.text[-3000:])
            self.assertNotIn("FAIL", guest.text)

    def test_watchpoints_stop_where_the_value_changes(self):
        with self.payload("exceptions") as guest:
            count = "*(unsigned long*)((char*)&last + 200)"  # struct Last: a frame of 22 words, three words, then the count
            text = self.gdb(f"watch {count}", "continue", "bt 1", "continue", "awatch *(int*)&trap_hook", "continue", "info breakpoints", "kill",
                            symbols="exceptions")
            self.assertRegex(text, r"Old value = 0\s+New value = 1\s+0x\w+ in trap_handler")
            self.assertRegex(text, r"Old value = 1\s+New value = 2")
            self.assertRegex(text, r"Hardware access \(read/write\) watchpoint 2: \*\(int\*\)&trap_hook\s+Value = 0")
            self.assertEqual(guest.wait(WAIT), 0, guest.text[-3000:])

    def test_registers_and_memory_can_be_changed(self):
        with self.payload("exceptions") as guest:
            text = self.gdb("hbreak payload_main", "continue", "set $xmm3.uint128 = 7", "p $xmm3.v2_int64", "set $rbx = -1", "p $rbx", "set *(int*)0x200000 = 42",
                            "x/dw 0x200000", "monitor physical on", "x/dw 0x200000", "monitor physical off", "p/x $efer & 0x400",
                            "x/xw 0x90000000", symbols="exceptions")
            self.assertIn("$1 = {7, 0}", text)
            self.assertIn("$2 = -1", text)
            self.assertEqual(re.findall(r"0x200000:\s+(\d+)", text), ["42", "42"])
            self.assertIn("$3 = 0x400", text)
            self.assertIn("Cannot access memory at address 0x90000000", text)
            self.assertEqual(guest.wait(WAIT), 0, guest.text[-3000:])  # GDB left at the error, and let the guest go

    def test_a_second_debugger_is_refused_and_a_vanished_one_leaves_the_guest_stopped(self):
        with self.payload("exceptions") as guest:
            first = socket.socket(socket.AF_UNIX)
            first.settimeout(WAIT)
            first.connect(self.socket)
            first.sendall(b"$?#3f")
            self.assertEqual(first.recv(1), b"+")
            refused = self.gdb("info threads")
            self.assertRegex(refused, r"Remote connection closed|Connection reset by peer|Remote communication error")
            self.assertNotIn("vCPU", refused)
            first.close()
            self.assertNotIn("ok", guest.text)
            self.assertIn("(vCPU 0, running)", self.gdb("info threads", "detach"))
            self.assertEqual(guest.wait(WAIT), 0, guest.text[-3000:])

    def test_a_kernel_breakpoint_is_hit_on_both_processors_and_the_guest_goes_on(self):
        with small_guest("debug", "--net", "none", "--cpus", "2", "--engine", "bt", "--gdb", f"unix:{self.socket}") as guest:
            where = guest.expect(r"sync is at ([0-9a-f]{16})", BOOT)[1]
            text = self.gdb(f"break *0x{where}", "continue", "continue", "continue", "continue", "stepi", "stepi 20", "info threads", "detach")
            hits = re.findall(r"Thread (\d) hit Breakpoint 1", text)
            self.assertEqual(len(hits), 4, text)
            self.assertEqual(set(hits), {"1", "2"})
            self.assertRegex(text, r"(?s)vCPU 0, .*vCPU 1, ")
            self.assertNotIn("rror", text)
            guest.expect("debug: still calls", BOOT, after=len(guest.text))
            self.assertNotRegex(guest.text, r"BUG:|Oops|soft lockup|Call Trace")


if __name__ == "__main__":
    unittest.main()
