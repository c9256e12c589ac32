"""The README's commands work as printed.

Every fenced block marked `sh` or `python` is run, in order, against the `make run` of the first one;
a `text` block right behind it is what it prints, where `...` stands for anything. The only change is
the port, because the usual one may be taken on the machine that runs the test.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python|text)\n(.*?)^```$", README, re.M | re.S)
USUAL_PORT = "8080"
PATIENCE = float(os.environ.get("WEIR_PATIENCE", "1"))


def examples():
    """(language, text, expected output or None) of each block that is run against the gateway."""
    found = []
    for language, text in BLOCKS:
        if language == "text":
            if found:
                found[-1][2] = text
        elif "make run" not in text and "make test" not in text:
            found.append([language, text, None])
    return [tuple(example) for example in found]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The port of what the README's `make run` starts."""
    assert any("make run" in text for _, text in BLOCKS)
    log = (tmp_path_factory.mktemp("run") / "out").open("w+", encoding="utf-8")
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "WEIR_CACHE")
    env = {name: value for name, value in os.environ.items() if name in keep}
    env["ARGS"] = "--listen 127.0.0.1:0 --print-port"
    process = subprocess.Popen(["make", "-s", "run"], cwd=ROOT, env=env, stdout=log,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120 * PATIENCE
        port = None
        while port is None:
            said = pathlib.Path(log.name).read_text(encoding="utf-8")
            first = re.search(r"^(\d+)$", said, re.M)
            port = first[1] if first else None
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.01)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def test_there_is_a_curl_and_an_sdk_example():
    assert any(language == "sh" and "curl" in text for language, text, _ in examples())
    assert any("from openai import" in text for language, text, _ in examples())


@pytest.mark.parametrize("language, text, expected", examples(),
                         ids=[f"{language}-{number}"
                              for number, (language, _, _) in enumerate(examples(), 1)])
def test_the_example_works_as_printed(gateway, language, text, expected):
    if language == "python":
        for package in re.findall(r"^(?:from|import) (\w+)", text, re.M):
            pytest.importorskip(package)
    command = {"sh": ["bash", "-ec", None], "python": [sys.executable, "-c", None]}[language]
    command[-1] = text.replace(f":{USUAL_PORT}", f":{gateway}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * PATIENCE,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    if expected is not None:
        pattern = ".*".join(re.escape(part.strip()) for part in expected.strip().split("..."))
        assert re.fullmatch(pattern, done.stdout.strip(), re.S), done.stdout


def test_every_make_target_of_the_readme_exists():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    for command in re.findall(r"^ *(?:\$ )?(make [a-z-]+)", README, re.M):
        assert f"{command} " in said, f"{command} is in the README but not in `make help`"
