"""The page about providers lists what the catalogue holds."""

import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class ProviderList(unittest.TestCase):
    def test_the_page_is_current(self):
        done = subprocess.run(["scripts/list-providers", "--check"], cwd=ROOT, text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
