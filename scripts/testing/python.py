"""The layers written in Python: pytest for those that need packages, unittest for those that do
not (the tests of the tree's own scripts, which run where nothing can be installed)."""
import os
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree

from testing.report import Result
from testing.run import describe, run


def run_pytest(python, directory, pattern, environment, cwd, limit_s, prefix):
    """Runs the pytest files of `directory` and reads the JUnit file that pytest leaves behind."""
    with tempfile.TemporaryDirectory() as scratch:
        junit = os.path.join(scratch, "junit.xml")
        command = prefix + [python, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                            f"--junit-xml={junit}", directory]
        if pattern:
            command += ["-k", pattern]
        status, output = run(command, environment, cwd, limit_s)
        results = read_junit(junit) if os.path.exists(junit) else []
    selected_nothing = status == 5 and pattern
    if not selected_nothing and status != 0 and not any(r.status == "failed" for r in results):
        results.append(Result(f"pytest ({describe(status, limit_s)})", "failed", output[-20000:]))
    return results


def read_junit(path):
    results = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        where = case.get("classname", "").replace(".", "/")
        name = f"{where}::{case.get('name')}" if where else case.get("name")
        wrong = case.find("failure")
        if wrong is None:
            wrong = case.find("error")
        skipped = case.find("skipped")
        if wrong is not None:
            said = [child.text or "" for child in case if child.tag.startswith("system-")]
            results.append(Result(name, "failed", "\n".join([wrong.text or ""] + said)))
        elif skipped is not None:
            reason = re.sub(r"^Skipped: ", "", skipped.get("message") or "")
            results.append(Result(name, "skipped", reason))
        else:
            results.append(Result(name, "passed"))
    return results


class Collector(unittest.TestResult):
    """A unittest result that keeps every test by name."""

    def __init__(self):
        super().__init__()
        self.results = []

    def addSuccess(self, test):
        self.results.append(Result(test.id(), "passed"))

    def addSkip(self, test, reason):
        self.results.append(Result(test.id(), "skipped", reason))

    def addFailure(self, test, err):
        self.results.append(Result(test.id(), "failed", self._exc_info_to_string(err, test)))

    addError = addFailure


def run_unittest(directory, pattern):
    sys.dont_write_bytecode = True
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    collector = Collector()
    loader.discover(directory).run(collector)
    return collector.results
