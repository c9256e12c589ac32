"""The layer of Node.js tests: tests/node/*.test.mjs with Node's own test runner."""
import os
import re

from testing.report import Result
from testing.run import describe, run

CASE = re.compile(r"^(ok|not ok) \d+ - (.*?)(?: # (SKIP|TODO)\b ?(.*))?$")


def run_layer(directory, pattern, environment, cwd, limit_s, prefix):
    files = sorted(name for name in os.listdir(directory) if re.search(r"\.test\.m?js$", name))
    command = prefix + ["node", "--test", "--test-reporter=tap"]
    if pattern:
        command.append(f"--test-name-pattern={pattern}")
    command += [os.path.join(directory, name) for name in files]
    status, output = run(command, environment, cwd, limit_s)
    results = []
    lines = output.splitlines()
    for index, line in enumerate(lines):
        # Only top-level lines: a nested test's outcome is its parent's, too.
        case = CASE.match(line)
        if not case:
            continue
        verdict, name, directive, reason = case.groups()
        if directive == "SKIP":
            results.append(Result(name, "skipped", reason or ""))
        elif verdict == "ok":
            results.append(Result(name, "passed"))
        else:
            results.append(Result(name, "failed", "\n".join(lines[max(0, index - 60):index + 60])))
    if status != 0 and not any(result.status == "failed" for result in results):
        results.append(Result(f"node ({describe(status, limit_s)})", "failed", output[-20000:]))
    return results
