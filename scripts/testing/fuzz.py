"""The layer of libFuzzer targets: each runs on its seed corpus for some seconds."""
import glob
import os

from testing.report import Result
from testing.run import describe, run


def run_layer(build_dir, pattern, environment, root, cache, seconds, prefix):
    """Every fuzz_NAME of the build folder, with the seeds of tests/fuzz/corpus/NAME, the words of
    tests/fuzz/NAME.dict and what earlier runs found (kept in the cache folder)."""
    results = []
    for source in sorted(glob.glob(os.path.join(root, "tests", "fuzz", "fuzz_*.c"))):
        target = os.path.basename(source)[:-len(".c")]
        name = target[len("fuzz_"):]
        path = os.path.join(build_dir, "tests", target)
        if pattern and pattern not in name:
            continue
        found = os.path.join(cache, "fuzz", name)
        crashes = os.path.join(build_dir, "crashes", "")
        os.makedirs(found, exist_ok=True)
        os.makedirs(crashes, exist_ok=True)
        command = prefix + [path, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                            "-print_final_stats=0", "-verbosity=0",
                            f"-artifact_prefix={crashes}{name}-", found]
        seeds = os.path.join(root, "tests", "fuzz", "corpus", name)
        words = os.path.join(root, "tests", "fuzz", f"{name}.dict")
        command += [seeds] if os.path.isdir(seeds) else []
        command += [f"-dict={words}"] if os.path.exists(words) else []
        # Reading the corpus comes before the clock of -max_total_time starts.
        limit_s = seconds + 120
        status, output = run(command, environment, root, limit_s)
        if status == 0:
            results.append(Result(name, "passed"))
        else:
            detail = f"{describe(status, limit_s)}; inputs are kept in {crashes}\n{output[-20000:]}"
            results.append(Result(name, "failed", detail))
    return results
