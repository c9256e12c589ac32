"""Load over HTTP/2 by nghttp2's h2load; without it the rows say so."""
import json
import os
import re
import shutil
import subprocess

from . import processes
from .processes import BenchError


def missing():
    return None if shutil.which("h2load") else "h2load is not installed (nghttp2-client)"


def run(bench, proxy, body, *, connections, streams, requests=0, seconds=0):
    """`streams` at a time on each of `connections`. How many requests were asked for, how many
    were answered, and the bytes of all bodies."""
    why = missing()
    if why:
        raise BenchError(why)
    os.makedirs(bench.work, exist_ok=True)
    path = os.path.join(bench.work, "h2-body.json")
    with open(path, "w", encoding="utf-8") as output:
        json.dump(body, output)
    amount = ["-D", str(seconds)] if seconds else ["-n", str(requests)]
    key = proxy.contender.key
    command = ["h2load", *amount, "-c", str(connections), "-m", str(streams), "-d", path,
               "-H", "content-type: application/json",
               *(["-H", f"authorization: Bearer {key}"] if key else []),
               f"http://127.0.0.1:{proxy.port}/v1/chat/completions"]
    process = processes.start(command, bench.cores.load, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.communicate(timeout=120)[0].decode(errors="replace")
    found = re.search(r"requests: (\d+) total, .* (\d+) done, (\d+) succeeded", said)
    data = re.search(r"\((\d+)\) data", said)
    if not found or not data:
        raise BenchError(f"h2load: {said[-400:]}")
    total, done, succeeded = (int(number) for number in found.groups())
    return {"total": total if requests else done, "succeeded": succeeded, "bytes": int(data.group(1))}
