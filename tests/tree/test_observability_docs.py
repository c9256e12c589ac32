"""The page about metrics and logs names every metric and every field, and no others."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The table of /v1/weir/health, below, has fields of its own.
PAGE = (ROOT / "docs/observability.md").read_text(encoding="utf-8").partition("\n## Health")[0]


def first_cells():
    """The names in the first column of the page's tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", PAGE, re.M)
    return {name for cell in cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}


class ObservabilityDocs(unittest.TestCase):
    def test_every_metric_is_documented(self):
        source = (ROOT / "src/observe/metrics_page.c").read_text(encoding="utf-8")
        exported = set(re.findall(r'"((?:weir|gen_ai|process)_[a-z0-9_]+)"', source))
        exported -= {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model",
                     "gen_ai_token_type"}
        documented = {name for name in first_cells() if re.match("weir_|gen_ai_|process_", name)}
        self.assertEqual(exported, documented)

    def test_every_field_is_documented(self):
        source = (ROOT / "src/observe/access_log_format.c").read_text(encoding="utf-8")
        written = {"time"} | set(re.findall(r'FIELD\("([a-z0-9_]+)"', source))
        documented = {name for name in first_cells()
                      if not re.match("weir_|gen_ai_|process_", name)}
        self.assertEqual(written, documented)


if __name__ == "__main__":
    unittest.main()
