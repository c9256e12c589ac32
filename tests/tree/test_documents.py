"""The documents hang together: every link leads somewhere, every page can be found."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def anchors(text):
    """The anchors that a page's headings give."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", FENCE.sub("", text), re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        broken = []
        for page in pages():
            for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                place = (page.parent / name).resolve() if name else page
                if not place.exists():
                    broken.append(f"{page.relative_to(ROOT)}: {target} does not exist")
                elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
                    broken.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
        self.assertEqual(broken, [])

    def test_every_page_is_in_the_index_of_its_folder(self):
        lost = []
        for page in pages():
            index = page.parent / "README.md"
            if ROOT / "docs" not in page.parents or page == index:
                continue
            if not index.exists() or f"({page.name})" not in index.read_text(encoding="utf-8"):
                lost.append(str(page.relative_to(ROOT)))
        self.assertEqual(lost, [], "these are in no README.md of their folder")


if __name__ == "__main__":
    unittest.main()
