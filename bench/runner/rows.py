"""The figures of the bench as a table: what each is called, its goal, how it is measured."""
from . import h2load, measure
from .contenders import ResumableWeir


class Metric:
    """One number of a row: how it is shown and what it is held against."""

    def __init__(self, key, label, unit, *, at_most=None, of_nginx=None):
        self.key = key
        self.label = label
        self.unit = unit
        self.at_most = at_most  # a bound in the metric's own unit
        self.of_nginx = of_nginx  # a bound relative to nginx in the same run

    def goal(self):
        bounds = []
        if self.at_most is not None:
            bounds.append(f"{self.at_most:g} {self.unit}".rstrip())
        if self.of_nginx is not None:
            bounds.append(f"{self.of_nginx:.2f} x nginx")
        return "<= " + ", ".join(bounds) if bounds else ""


class Row:
    """One figure: `measure(bench, contender)` takes one sample of it, `metrics` are the numbers
    of the sample that the table shows."""

    def __init__(self, name, title, measure_one, metrics, *, added=False, rounds=(1, 5),
                 placement="apart", contenders=("weir", "nginx", "haproxy"), missing=None):
        self.name = name
        self.title = title
        self.measure = measure_one
        self.metrics = metrics
        self.added = added  # what the direct call of the same round takes is subtracted
        self.rounds = rounds  # of a quick run and of a full one
        self.placement = placement  # which core runs what (machine.Cores)
        self.contenders = contenders + ("direct",) if added else contenders
        self.missing = missing  # says why the row cannot be taken here, or None


def cpu(goal):
    return [Metric("cpu_us", "", "us", of_nginx=goal)]


# The bounds relative to nginx are the absolute ones over what nginx took on the machine where they
# were set: a number of microseconds does not travel to another machine, the ratio does.
def added_call(prefix="", label=""):
    return [Metric(prefix + "p50_us", label + "p50", "us", at_most=35, of_nginx=0.97),
            Metric(prefix + "p99_us", label + "p99", "us", at_most=55, of_nginx=1.20)]


def translated(unit):
    return [Metric("cpu_us", unit, "us"),
            Metric("same_cpu_us", unit + ", same dialect", "us"),
            Metric("cpu_ratio", unit + ", of same dialect", "x", at_most=1.5)]


def routed(unit, goal):
    return [Metric("cpu_us", unit, "us"),
            Metric("plain_cpu_us", unit + ", plain", "us"),
            Metric("cpu_ratio", unit + ", of plain", "x", at_most=goal)]


def quantiles():
    return [Metric("p50_us", "p50", "us"), Metric("p99_us", "p99", "us")]


# The client of the rows that translate; the mock behind weir speaks OpenAI's chat completions.
ANTHROPIC = {"dialect": "anthropic"}

ROWS = [
    Row("request", "CPU a request, saturated, 1 KB", measure.cpu_per_request(64, 1024), cpu(0.95),
        rounds=(2, 5)),
    Row("tokens_400", "CPU a token, 400 streams x 50/s", measure.cpu_per_token(400), cpu(0.88),
        rounds=(2, 5), placement="together"),
    Row("tokens_50", "CPU a token, 50 streams x 50/s", measure.cpu_per_token(50), cpu(0.90),
        rounds=(2, 5), placement="together"),
    Row("prompt_100k", "CPU a request, 100 KB prompt", measure.cpu_per_request(16, 100_000),
        cpu(1.05)),
    Row("prompt_1m", "CPU a request, 1 MB prompt", measure.cpu_per_request(4, 1_000_000),
        cpu(1.15)),
    Row("h2_request", "CPU a request over HTTP/2, saturated, 1 KB",
        measure.h2_cpu_per_request(8, 8, 1024), cpu(1.30), rounds=(2, 5), missing=h2load.missing),
    Row("h2_streams", "1000 streams on 10 HTTP/2 connections", measure.h2_lost(10, 100),
        [Metric("lost", "lost", "", at_most=0), Metric("bytes_off", "bytes off", "", at_most=0)],
        rounds=(1, 2), missing=h2load.missing),
    Row("latency", "added latency, 1 connection", measure.latency(False), added_call(),
        added=True, placement="together"),
    Row("latency_stream", "added latency, 1 connection, stream", measure.latency(True),
        added_call("ttft_", "first token ") + added_call("", "last byte "),
        added=True, placement="together"),
    Row("transit", "added delay of a token, 1 stream", measure.token_transit, quantiles(),
        added=True, placement="together"),
    Row("ttft", "added TTFT, 200 new streams/s", measure.ttft_open_loop(200, False),
        [Metric("p50_us", "p50", "us", at_most=100, of_nginx=0.96),
         Metric("p99_us", "p99", "us", at_most=200)], added=True, placement="together"),
    Row("ttft_fresh", "same, each on a new connection", measure.ttft_open_loop(200, True),
        quantiles(), added=True, rounds=(1, 3), placement="together"),
    Row("memory", "memory", measure.memory,
        [Metric("stream_kib", "an open stream", "KiB", at_most=12),
         Metric("idle_pss_mib", "idle", "MiB", at_most=6),
         Metric("after_ratio", "after load, of idle", "x", at_most=1.2)], rounds=(1, 1)),
    Row("hangup", "upstream calls 2 s after 1000 hung up", measure.hangup,
        [Metric("left", "", "", at_most=0)], rounds=(1, 2)),
    Row("start", "start to first answer", measure.start_time,
        [Metric("ms", "", "ms", at_most=12)], rounds=(1, 3)),
    Row("stuck_log", "with a stuck log sink, of without", measure.stuck_log,
        [Metric("cpu_ratio", "CPU a request", "x", at_most=1.05),
         Metric("p50_ratio", "latency p50", "x", at_most=1.05),
         Metric("p99_ratio", "latency p99", "x")], placement="together", contenders=("weir",)),
    Row("translated", "anthropic to openai_chat, 1 KB",
        measure.of_same_dialect(measure.cpu_per_request(64, 1024), ANTHROPIC),
        translated("CPU a request"), rounds=(2, 5), contenders=("weir",)),
    Row("translated_tokens", "anthropic to openai_chat, 50 streams x 50/s",
        measure.of_same_dialect(measure.cpu_per_token(50), ANTHROPIC),
        translated("CPU a token"), rounds=(2, 5), placement="together", contenders=("weir",)),
    Row("routed", "a route with all on, 1 KB",
        measure.of_plain(measure.cpu_per_request(64, 1024)),
        routed("CPU a request", 1.05), rounds=(3, 7), contenders=("weir",)),
    Row("routed_tokens", "a route with all on, 50 streams x 50/s",
        measure.of_plain(measure.cpu_per_token(50)),
        routed("CPU a token", 1.10), rounds=(3, 7), placement="together", contenders=("weir",)),
    Row("resumable_tokens", "resumable, 50 streams x 50/s",
        measure.of_plain(measure.cpu_per_token(50), ResumableWeir),
        routed("CPU a token", 1.10), rounds=(3, 7), placement="together", contenders=("weir",)),
    Row("sockets", "50 realtime sessions x 50/s", measure.sockets,
        [Metric("cpu_us", "CPU a message", "us"),
         Metric("event_cpu_us", "CPU an event of a stream", "us"),
         Metric("cpu_ratio", "a message, of an event", "x", at_most=1.2),
         Metric("transit_p99_us", "a message takes, p99", "us"),
         Metric("cancel_p50_us", "an interruption takes, p50", "us"),
         Metric("cancel_p99_us", "an interruption takes, p99", "us", at_most=1000)],
        rounds=(2, 5), placement="together", contenders=("weir",)),
]
