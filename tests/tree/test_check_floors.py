"""scripts/check-floors objects to what it is meant to object to, and to nothing else."""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLOORS = """# comment
0 base
1 rt
2 dialect only base
3 route
3 stream
4 cli
header yaml.h route
"""


class CheckFloors(unittest.TestCase):
    def check(self, path, text):
        """(exit status, what is printed) for a tree with one file more."""
        with tempfile.TemporaryDirectory() as root:
            files = {"FLOORS": FLOORS, path: text}
            for floor in ("base", "rt", "dialect", "route", "stream"):
                files[f"{floor}/{floor}.h"] = "#include <stddef.h>\n"
            for name, content in files.items():
                place = pathlib.Path(root, "src", name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(content, encoding="utf-8")
            done = subprocess.run([ROOT / "scripts" / "check-floors", root], capture_output=True,
                                  text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def assert_clean(self, path, text):
        self.assertEqual(self.check(path, text), (0, ""))

    def assert_objects(self, path, text, words):
        status, said = self.check(path, text)
        self.assertEqual(status, 1, said)
        self.assertIn(words, said)

    def test_down_is_allowed(self):
        self.assert_clean("route/a.c", '#include "rt/rt.h"\n#include "base/base.h"\n')

    def test_inside_the_own_folder_is_allowed(self):
        self.assert_clean("route/deep/a.c", '#include "route/route.h"\n')

    def test_up(self):
        self.assert_objects("rt/a.h", '\n  #  include "stream/stream.h"\n',
                            'src/rt/a.h:2: "stream/stream.h" goes up')

    def test_across(self):
        self.assert_objects("route/a.c", '#include "stream/stream.h"\n', "goes across")

    def test_only(self):
        self.assert_clean("dialect/a.c", '#include "base/base.h"\n')
        self.assert_objects("dialect/a.c", '#include "rt/rt.h"\n', "may include only base")

    def test_library_header(self):
        self.assert_clean("route/a.c", "#include <yaml.h>\n")
        self.assert_objects("base/a.c", "#include <yaml.h>\n", "known to route only")

    def test_the_topmost_floor_knows_every_library(self):
        self.assert_clean("cli/a.c", "#include <yaml.h>\n")

    def test_folder_without_a_floor(self):
        self.assert_objects("attic/a.c", "", "has no floor")

    def test_include_that_is_not_written_from_src(self):
        self.assert_objects("rt/a.c", '#include "rt.h"\n', "must be written from src/")

    def test_missing_file(self):
        self.assert_objects("rt/a.c", '#include "rt/gone.h"\n', "does not exist")


if __name__ == "__main__":
    unittest.main()
