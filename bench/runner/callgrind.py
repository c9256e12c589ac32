"""Counts the instructions that a request and a token cost in user space, under valgrind. Each
figure is the difference of a short and a long run, so that the start and the end cancel."""
import argparse
import glob
import json
import os
import shutil
import sys

from . import contenders, machine, processes
from .main import Bench, build_folder
from .processes import BenchError
from .rows import ANTHROPIC

VALGRIND = ("valgrind", "--tool=callgrind", "--dump-instr=no", "--quiet")


class Figure:
    """What is counted: `settings(n)` are those of the load generator for a run of length n."""

    def __init__(self, name, title, lengths, settings, variant=None):
        self.name = name
        self.title = title
        self.lengths = lengths
        self.settings = settings
        self.variant = variant  # of weir, from its program and the models that are asked for

    def is_of(self, name):
        return name == "weir" or not (self.variant or self.name.startswith("translated"))

    def contender(self, known):
        if self.variant is None:
            return known
        models = ["bench"] + [self.settings(n)["model"] for n in self.lengths
                              if "model" in self.settings(n)]
        return self.variant(known.program, dict.fromkeys(models))


def plain(program, models):
    return contenders.PlainWeir(program)


def token(n):
    return {"requests": 1, "stream": True, "model": f"bench-{n}tok-5ms"}


FIGURES = [
    Figure("request", "instructions a request, 1 KB", (100, 600),
           lambda n: {"requests": n}),
    Figure("stream", "instructions a stream of one token", (50, 300),
           lambda n: {"requests": n, "stream": True, "model": "bench-1tok"}),
    # Slow enough that each token is relayed by itself, even at valgrind's pace.
    Figure("token", "instructions a relayed token", (100, 500), token),
    Figure("translated_request", "same, anthropic to openai_chat", (100, 600),
           lambda n: {"requests": n, **ANTHROPIC}),
    Figure("translated_stream", "stream of one token, translated", (50, 300),
           lambda n: {"requests": n, "stream": True, "model": "bench-1tok", **ANTHROPIC}),
    Figure("translated_token", "relayed token, translated", (100, 500),
           lambda n: {"requests": 1, "stream": True, "model": f"bench-{n}tok-5ms", **ANTHROPIC}),
    Figure("prompt_100k", "instructions a request, 100 KB prompt", (20, 120),
           lambda n: {"requests": n, "prompt": 100_000}),
    Figure("plain_request", "a request, tried once", (100, 600), lambda n: {"requests": n}, plain),
    Figure("routed_request", "same, a route with all on", (100, 600), lambda n: {"requests": n},
           contenders.RoutedWeir),
    Figure("plain_token", "a token, no journal", (100, 500), token, plain),
    Figure("routed_token", "same, a route with all on", (100, 500), token, contenders.RoutedWeir),
    # No figure of resumable streams: callgrind loses track of two stacks that take turns.
]


def count(bench, contender, figure, length):
    """Runs once under valgrind; returns the instructions of all its processes."""
    folder = os.path.join(build_folder(), "bench", "callgrind", contender.name)
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, f"{figure.name}-{length}.out")
    for old in glob.glob(stem + ".*"):
        os.remove(old)
    wrapper = VALGRIND + (f"--callgrind-out-file={stem}.%p",)
    with contenders.running(contender, bench.folder(contender), bench.mock.port,
                            bench.cores.proxy, wrapper) as proxy:
        result = bench.load(proxy).run(timeout_ms=120000, **figure.settings(length))
        bench.note(contender.name, result)
    total = 0
    for path in glob.glob(stem + ".*"):
        with open(path, encoding="ascii", errors="replace") as output:
            total += sum(int(line.split()[1]) for line in output if line.startswith("totals:"))
    if total == 0:
        raise BenchError(f"{contender.name}: valgrind has left no figures in {folder}")
    return total


def measure(bench, contender, figure):
    short, long = figure.lengths
    return (count(bench, contender, figure, long) - count(bench, contender, figure, short)) \
        / (long - short)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/callgrind", description=__doc__)
    parser.add_argument("--contenders", metavar="NAME[,NAME]", default="weir",
                        help="of weir, nginx, haproxy (default: weir)")
    parser.add_argument("--only", metavar="FIGURE[,FIGURE]",
                        help="of " + ", ".join(figure.name for figure in FIGURES))
    parser.add_argument("--bin", metavar="PATH", help="the weir to measure")
    parser.add_argument("--out", metavar="PATH", help="where the JSON goes")
    return parser.parse_args(arguments)


def run(arguments):
    build = build_folder()
    if not shutil.which("valgrind"):
        raise BenchError("valgrind is not installed")
    known = {c.name: c for c in (contenders.Weir(arguments.bin or os.path.join(build, "weir")),
                                 contenders.Nginx(), contenders.HAProxy())}
    wanted = arguments.only.split(",") if arguments.only else [f.name for f in FIGURES]
    bench = Bench(build, quick=True)
    rows = {}
    for name in arguments.contenders.split(","):
        if name not in known:
            raise BenchError(f"no such contender: {name}")
        if known[name].missing():
            print(f"left out: {name}: {known[name].missing()}")
            continue
        for figure in FIGURES:
            if figure.name not in wanted or not figure.is_of(name):
                continue
            value = measure(bench, figure.contender(known[name]), figure)
            rows.setdefault(name, {})[figure.name] = value
            print(f"{name:<8} {figure.title:<40} {value:12,.0f}", flush=True)
    bench.mock.stop()
    path = arguments.out or os.path.join(build, "bench", "callgrind.json")
    with open(path, "w", encoding="utf-8") as output:
        json.dump({"machine": machine.describe(), "instructions": rows,
                   "problems": bench.problems}, output, indent=1)
        output.write("\n")
    print(f"JSON: {path}\nprofiles: {os.path.join(build, 'bench', 'callgrind')} "
          "(callgrind_annotate FILE)")
    for problem in bench.problems:
        print(f"  {problem}")
    return 1 if bench.problems or not rows else 0


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
