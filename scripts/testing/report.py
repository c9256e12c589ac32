"""Counts results, prints them layer by layer and says the last word of a test run."""
import sys
import time


class Result:
    """One test: `status` is passed, failed or skipped; `detail` the reason or the output."""

    def __init__(self, name, status, detail=""):
        self.name = name
        self.status = status
        self.detail = detail


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skips = {}  # reason -> [test names]
        self.failures = []  # test names
        self.build_s = 0.0  # how much of the time went into building

    def build(self, what, is_done, started):
        seconds = time.monotonic() - started
        self.build_s += seconds
        print(f"{'build':<12} {what + ('' if is_done else ' FAILED'):<40} {seconds:7.1f} s")
        sys.stdout.flush()

    def layer(self, name, results, started):
        """Adds a layer's results and prints them as one line, with every failure in full."""
        counts = {"passed": 0, "failed": 0, "skipped": 0}
        for result in results:
            counts[result.status] += 1
            if result.status == "failed":
                self.failures.append(f"{name}: {result.name}")
                rule = "-" * 20
                print(f"{rule} FAILED {name}: {result.name} {rule}\n{result.detail.rstrip()}")
            elif result.status == "skipped":
                reason = " ".join(result.detail.split()) or "no reason given"
                self.skips.setdefault(reason, []).append(f"{name}: {result.name}")
        self.passed += counts["passed"]
        self.failed += counts["failed"]
        text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        print(f"{name:<12} {text or 'no tests':<40} {time.monotonic() - started:7.1f} s")
        sys.stdout.flush()

    def finish(self):
        """Prints skips, failures and the closing line; returns the exit status of the run."""
        skipped = sum(len(names) for names in self.skips.values())
        if skipped:
            print("\nskipped:")
        for reason, names in sorted(self.skips.items()):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            print(f"  {names[0]}{more}: {reason}")
        if self.failures:
            print("\nfailed:")
        for name in self.failures:
            print(f"  {name}")
        nothing_ran = self.passed + self.failed == 0
        if nothing_ran:
            print("\nno test was run")
        tail = f", {skipped} skipped" if skipped else ""
        print(f"\n{self.passed} passed, {self.failed} failed{tail}")
        sys.stdout.flush()
        return 1 if self.failed or nothing_ran else 0
