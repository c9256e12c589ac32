"""From samples to the table and the JSON file."""
import json
import os
import statistics
import time

from . import machine


class RowResult:
    """A row's samples, and the medians over its rounds."""

    def __init__(self, row, samples):
        self.row = row
        self.samples = samples
        self.medians = {name: self._medians(name) for name in samples}

    def _of_round(self, name, number):
        """A sample as the table means it: with what a direct call takes subtracted."""
        sample = self.samples[name][number]
        if sample is None or not self.row.added or name == "direct":
            return sample
        direct = self.samples["direct"][number]
        if direct is None:
            return None
        return {key: value - direct[key] for key, value in sample.items()}

    def _medians(self, name):
        rounds = [self._of_round(name, number) for number in range(len(self.samples[name]))]
        rounds = [sample for sample in rounds if sample is not None]
        medians = {}
        for key in rounds[0] if rounds else ():
            values = [sample[key] for sample in rounds if sample[key] is not None]
            medians[key] = statistics.median(values) if values else None
        return medians

    def value(self, name, metric):
        return self.medians.get(name, {}).get(metric.key)

    def ratio(self, metric):
        """weir's number by nginx's; None where that says nothing."""
        weir, nginx = self.value("weir", metric), self.value("nginx", metric)
        if weir is None or nginx is None or nginx <= 0 or weir < 0:
            return None
        return weir / nginx

    def is_met(self, metric):
        """Whether weir reaches the metric's goal: True, False, or None if nobody can say."""
        weir = self.value("weir", metric)
        if weir is None:
            return None
        bounds = []
        if metric.at_most is not None:
            bounds.append(weir <= metric.at_most)
        if metric.of_nginx is not None and self.ratio(metric) is not None:
            bounds.append(self.ratio(metric) <= metric.of_nginx)
        return all(bounds) if bounds else None


def _number(value, unit):
    if value is None:
        return "-"
    text = f"{value:.0f}" if unit == "" or abs(value) >= 1000 else f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def table(results):
    """The table as a list of rows of cells, the heading first."""
    cells = [["figure", "goal", "weir", "nginx", "HAProxy", "direct", "weir/nginx", "met"]]
    for result in results:
        for metric in result.row.metrics:
            title = result.row.title + (f", {metric.label}" if metric.label else "")
            ratio = result.ratio(metric)
            met = {True: "yes", False: "no", None: ""}[result.is_met(metric)]
            cells.append([title, metric.goal()] +
                         [_number(result.value(name, metric), metric.unit)
                          for name in ("weir", "nginx", "haproxy", "direct")] +
                         [f"{ratio:.2f}" if ratio is not None else "", met])
    return cells


def print_table(results):
    cells = table(results)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    print()
    for number, row in enumerate(cells):
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2])]
        right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
        print("  ".join(left + right).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def print_books(bench):
    print(f"\nchecked: {bench.requests} answers and {bench.tokens} tokens, byte for byte")
    if bench.streams() < 9500:
        print(f"memory was measured with {bench.streams()} streams: the limit of open files is "
              f"{machine.open_file_limit()}")
    if not bench.faults:
        print("lost, doubled, reordered or damaged: 0")
    for name, faults in bench.faults.items():
        print(f"FAULTS of {name}: " + ", ".join(f"{count} {kind}"
                                                for kind, count in faults.items()))
    for problem in bench.problems:
        print(f"  {problem}")


def save(path, bench, results):
    document = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(),
        "cores": {result.row.name: vars(bench.cores_of(result.row)) for result in results},
        "quick": bench.quick,
        "streams": bench.streams(),
        "checked": {"answers": bench.requests, "tokens": bench.tokens, "faults": bench.faults,
                    "problems": bench.problems},
        "rows": {
            result.row.name: {
                "title": result.row.title,
                "medians": result.medians,
                "samples": result.samples,
                "goals": [{"metric": metric.key, "goal": metric.goal(),
                           "weir_of_nginx": result.ratio(metric), "met": result.is_met(metric)}
                          for metric in result.row.metrics],
            } for result in results
        },
    }
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as output:
        json.dump(document, output, indent=1)
        output.write("\n")
    print(f"JSON: {path}")
