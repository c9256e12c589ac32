"""The metrics page is what Prometheus itself calls clean."""

import shutil
import subprocess

import pytest

from harness.upstream import answer, chat


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (package prometheus)"
)
def test_promtool_has_nothing_to_say(weir, upstream):
    upstream.handler = chat(["a", "b"])
    weir.chat({"model": "up/m", "messages": [], "stream": True})
    upstream.handler = answer({"error": {"message": "x"}}, 500)
    weir.chat({"model": "up/m", "messages": []})
    weir.chat(b"{")
    page = weir.get("/metrics")
    assert page.headers.get("content-type").startswith("text/plain; version=0.0.4")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page.body, capture_output=True, timeout=30
    )
    assert done.returncode == 0 and done.stderr == b"", done.stderr.decode()
