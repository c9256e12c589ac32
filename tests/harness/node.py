"""Node scripts of tests/node/, with the npm packages that they import."""

import os
import pathlib
import shutil
import subprocess

import pytest

from .recordings import ROOT

SCRIPTS = ROOT / "tests" / "node"


def modules():
    """The node_modules folder, or None: WEIR_NODE_MODULES, or the one beside the scripts."""
    for place in (os.environ.get("WEIR_NODE_MODULES"), SCRIPTS / "node_modules"):
        if place and pathlib.Path(place).is_dir():
            return pathlib.Path(place).resolve()
    return None


def prepare(folder):
    """Puts the scripts and the packages into the folder; skips the test where that cannot be."""
    packages = modules()
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if packages is None:
        pytest.skip("the npm packages of tests/node are not installed (WEIR_NODE_MODULES)")
    # Node looks for packages only in folders above the script.
    folder = pathlib.Path(folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(packages)
    for path in SCRIPTS.glob("*.mjs"):
        shutil.copy(path, folder / path.name)
    return folder


class Script:
    """A script that prints one line when it is ready and ends when its input is closed."""

    def __init__(self, name, folder, *args):
        folder = prepare(folder)
        self.process = subprocess.Popen(
            ["node", str(folder / name), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_line = self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
