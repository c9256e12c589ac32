"""The layers of cmocka programs (unit, dialect, sim): runs them and reads their TAP output."""
import concurrent.futures
import json
import re
import subprocess

from testing.report import Result
from testing.run import describe, run

PLAN = re.compile(r"^1\.\.(\d+)$")
CASE = re.compile(r"^(ok|not ok) (\d+) (?:- |# SKIP )(.*)$")


def programs(build_dir):
    """{layer: [(name, path)]} of the test programs that the build folder is configured for."""
    listed = subprocess.run(["meson", "introspect", "--tests", build_dir], check=True,
                            stdout=subprocess.PIPE).stdout
    layers = {}
    for test in json.loads(listed):
        layer = test["suite"][0].split(":")[-1]
        name = test["name"].split("-", 1)[1]
        layers.setdefault(layer, []).append((name, test["cmd"][0]))
    return {layer: sorted(found) for layer, found in layers.items()}


def read_tap(program, output):
    """The results of one program's output. A skipped test's reason is what it printed itself."""
    results, planned, said = [], 0, []
    lines = output.splitlines()
    for index, line in enumerate(lines):
        plan, case = PLAN.match(line), CASE.match(line)
        if plan:
            planned += int(plan.group(1))
        elif not case:
            if not line.startswith("#"):
                said.append(line)
        else:
            verdict, _, title = case.groups()
            name = f"{program}/{title}"
            if " # SKIP " in line:
                about_it = [text for text in said if "skip" in text.lower()] or said or [""]
                reason = about_it[-1]
                reason = re.sub(r"^\W*skip(ped)?\W*", "", reason, flags=re.I)
                results.append(Result(name, "skipped", reason))
            elif verdict == "ok":
                results.append(Result(name, "passed"))
            else:
                why = []
                for later in lines[index + 1:]:
                    if not later.startswith("#"):
                        break
                    why.append(later)
                results.append(Result(name, "failed", "\n".join(said[-50:] + [line] + why)))
            said = []
    return results, planned


def run_program(name, path, environment, cwd, limit_s, prefix):
    status, output = run(prefix + [path], environment, cwd, limit_s)
    results, planned = read_tap(name, output)
    failed = sum(result.status == "failed" for result in results)
    # A program that crashed, hung or was stopped by a sanitizer does not reach its last test: what
    # it did not report is a failure, never a silence.
    lost = max(0, planned - len(results))
    if lost or not results or (status != 0 and not failed):
        for number in range(max(1, lost)):
            detail = output[-20000:] if number == 0 else "not reached"
            results.append(Result(f"{name} ({describe(status, limit_s)})", "failed", detail))
    return results


def run_layer(found, environment, cwd, limit_s, jobs, prefix):
    """Runs [(name, path)], `jobs` at a time; results in the order of the names."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(run_program, name, path, environment, cwd, limit_s, prefix)
                   for name, path in found]
        return [result for future in running for result in future.result()]
