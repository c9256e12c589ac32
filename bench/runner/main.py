"""The bench as a whole: takes the rounds, keeps the books, prints the table."""
import argparse
import contextlib
import os
import shutil
import sys

from . import contenders, machine, processes, report
from .mock import Load, Mock
from .processes import BenchError
from .rows import ROWS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

def build_folder():
    return os.path.join(ROOT, os.environ.get("BUILD", "build"))


def program(build, name):
    path = os.path.join(build, "bench", name)
    if not os.access(path, os.X_OK):
        raise BenchError(f"there is no {path}: build it first (make bench does)")
    return path


class Bench:
    """One run: what the measurements share."""

    def __init__(self, build, quick, placement=None):
        self.quick = quick
        self.placement = placement  # for all rows, or None for each row's own
        self.cores = machine.Cores()
        self.work = os.path.join(build, "bench", "work")
        shutil.rmtree(self.work, ignore_errors=True)
        self.load_program = program(build, "load")
        self.sockets_program = program(build, "sockets")
        self.mock = Mock(program(build, "mock"), self.cores.mock)
        self.tokens = 0
        self.requests = 0
        self.faults = {}  # contender -> kind -> count
        self.problems = []  # in words
        self.folders = 0

    def ms(self, quick, full):
        return quick if self.quick else full

    def cores_of(self, row):
        return machine.Cores(self.placement or row.placement)

    def place(self, row):
        """Puts the mock, and what is started from now on, on the cores that the row asks for."""
        self.cores = self.cores_of(row)
        self.mock.move(self.cores.mock)

    def streams(self):
        """As many as the proxy can hold with two descriptors each: 9,500 if the limit permits."""
        return min(9500, (machine.open_file_limit() - 500) // 2)

    def folder(self, contender):
        self.folders += 1
        name = "".join(c if c.isalnum() else "-" for c in contender.name)
        return os.path.join(self.work, f"{name}-{self.folders}")

    def load_at(self, contender, port):
        return Load(self.load_program, self.cores.load, port, contender.model_prefix,
                    contender.key)

    def load(self, proxy):
        return self.load_at(proxy.contender, proxy.port)

    @contextlib.contextmanager
    def running(self, contender):
        with contenders.running(contender, self.folder(contender), self.mock.port,
                                self.cores.proxy) as proxy:
            yield proxy

    def note(self, name, result):
        """Books what a run of the load generator has carried, and what was wrong with it."""
        self.tokens += result["tokens"]
        self.requests += result["requests"]
        if result["errors"] == 0:
            return
        of_contender = self.faults.setdefault(name, {})
        for kind, count in result["faults"].items():
            if count:
                of_contender[kind] = of_contender.get(kind, 0) + count
        self.problems.append(f"{name}: {result['errors']} faults, the first: "
                             f"{result['first_fault']}")


def rotate(items, by):
    by %= max(len(items), 1)
    return items[by:] + items[:by]


def measure_row(bench, row, chosen, rounds):
    """Takes all samples of a row, the contenders in turn; contender -> list of samples."""
    names = [c for c in chosen if c.name in row.contenders]
    bench.place(row)
    samples = {contender.name: [] for contender in names}
    for number in range(rounds):
        for contender in rotate(names, number):
            try:
                samples[contender.name].append(row.measure(bench, contender))
            except BenchError as error:
                bench.problems.append(f"{contender.name}, {row.name}: {error}")
                samples[contender.name].append(None)
    return samples


def choose(arguments, build):
    """The contenders that run, and what is said of those that cannot."""
    known = [contenders.Weir(arguments.bin or os.path.join(build, "weir")), contenders.Nginx(),
             contenders.HAProxy(), contenders.Direct()]
    names = arguments.contenders.split(",") if arguments.contenders else [c.name for c in known]
    unknown = set(names) - {c.name for c in known}
    if unknown:
        raise BenchError(f"no such contender: {', '.join(sorted(unknown))}")
    chosen = []
    for contender in known:
        why = contender.missing()
        if contender.name in names and why:
            print(f"left out: {contender.name}: {why}")
        elif contender.name in names or not contender.is_proxy:
            chosen.append(contender)
    return chosen


def select_rows(only):
    if not only:
        return ROWS
    names = only.split(",")
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        known = ", ".join(row.name for row in ROWS)
        raise BenchError(f"no such row: {', '.join(sorted(unknown))} (there are: {known})")
    return [row for row in ROWS if row.name in names]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, less exact")
    parser.add_argument("--only", metavar="ROW[,ROW]", help="these rows of the table only")
    parser.add_argument("--contenders", metavar="NAME[,NAME]",
                        help="of weir, nginx, haproxy, direct")
    parser.add_argument("--rounds", type=int, help="samples of each figure (rows.py has the defaults)")
    parser.add_argument("--placement", choices=("apart", "together"),
                        help="for all rows: the proxy on a core of its own, or all on one")
    parser.add_argument("--bin", metavar="PATH", help="the weir to measure")
    parser.add_argument("--out", metavar="PATH", help="where the JSON goes")
    return parser.parse_args(arguments)


def run(arguments):
    build = build_folder()
    rows = select_rows(arguments.only)
    chosen = choose(arguments, build)
    bench = Bench(build, arguments.quick, arguments.placement)
    results = []
    for row in rows:
        if not any(c.name in row.contenders and c.is_proxy for c in chosen):
            continue
        why = row.missing and row.missing()
        if why:
            print(f"left out: {row.title}: {why}")
            continue
        print(f"{row.title} ...", file=sys.stderr, flush=True)
        rounds = arguments.rounds or bench.ms(*row.rounds)
        samples = measure_row(bench, row, chosen, rounds)
        results.append(report.RowResult(row, samples))
    bench.mock.stop()
    path = arguments.out or os.path.join(build, "bench", "result.json")
    report.print_table(results)
    report.print_books(bench)
    report.save(path, bench, results)
    return 1 if bench.problems else 0


def main(arguments):
    processes.end_on_signals()
    machine.raise_open_file_limit()
    try:
        return run(parse(arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        processes.end_all()
