"""The pages about proxies and CDNs answer the same questions, and name where they know it from."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [p for p in sorted((ROOT / "docs/behind").glob("*.md")) if p.name != "README.md"]
TOPICS = ("uffering", "ompression", "Timeouts", "HTTP/2", "WebSocket")
SOURCE = re.compile(r"^- .*?<https://[^>]+>", re.M | re.S)


class BehindDocs(unittest.TestCase):
    def test_every_page_speaks_of_every_topic(self):
        silent = [f"{page.name}: {topic}" for page in PAGES for topic in TOPICS
                  if topic not in page.read_text(encoding="utf-8").partition("## Sources")[0]]
        self.assertEqual(silent, [])

    def test_every_page_names_its_sources_and_whether_it_was_run(self):
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            self.assertRegex(text, r"(?m)^(Run with .* \d|Not run: checked against )", page.name)
            self.assertTrue(SOURCE.findall(text.partition("\n## Sources\n")[2]), page.name)

    def test_every_page_is_in_the_table(self):
        index = (ROOT / "docs/behind/README.md").read_text(encoding="utf-8")
        for page in PAGES:
            self.assertRegex(index, rf"(?m)^\| \[[^\]]+\]\({page.name}\) \|", page.name)


if __name__ == "__main__":
    unittest.main()
