"""The whole Debian image: to its login, logged in, network by apt, powered off."""
import unittest

from guest import Guest

BOOT = 420


class Debian(unittest.TestCase):
    def boot_and_use(self, cpus: str, apt: bool = False):
        with Guest("debian", "--cpus", cpus) as guest:
            guest.expect(r"login: ", BOOT)
            at = guest.type("root\n")
            prompt = guest.expect(r"Password: |[#] ", 120, at)
            if prompt.group().startswith("Password"):
                at = guest.type("yado\n")
                guest.expect(r"[#] ", 120, at)
            at = guest.type("systemctl is-system-running --wait; echo state-$?\n")
            guest.expect(r"state-\d", 240, at + 60)
            if apt:
                at = guest.type("apt-get update && echo apt-$((40 + 2))\n")
                guest.expect(r"apt-42", 300, at)
            at = guest.type("echo complaints-$(dmesg | grep -E -c 'BUG:|Oops|soft lockup|rcu.*stall|Call Trace') cpus-$(nproc)\n")
            self.assertEqual(guest.expect(r"complaints-(\d+) cpus-(\d+)", 60, at).groups(), ("0", cpus))
            guest.type("poweroff\n")
            self.assertEqual(guest.wait(240), 0, guest.text[-3000:])

    def test_the_image_reaches_a_login_and_apt_get_update_works(self):
        self.boot_and_use("1", apt=True)

    def test_the_image_reaches_a_login_with_two_processors(self):
        self.boot_and_use("2")


if __name__ == "__main__":
    unittest.main()
