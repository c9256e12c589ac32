"""How one sample of each figure is taken. A sample is a dictionary of numbers."""
import os
import statistics
import time

from . import h2load, processes
from .contenders import PlainWeir, RoutedWeir, SocketWeir, StuckLogWeir, over_h2
from .mock import Sockets
from .processes import BenchError

WARM_MS = 300
SOCKET_BYTES = 250  # of a message of a session: what an event of the mock has, nearly
SETTLE_S = 0.1  # for what a proxy still does behind the last byte: its log, its counters


def _load_once(bench, proxy, **settings):
    result = bench.load(proxy).run(**settings)
    bench.note(proxy.contender.name, result)
    return result


def _cpu(bench, proxy, unit, settings):
    """CPU time of the proxy per `unit` (requests or tokens) of one run of the load generator."""
    cpu_before = proxy.cpu_ns()
    user_before, system_before = proxy.cpu_ticks_s()
    began = time.monotonic()
    result = _load_once(bench, proxy, **settings)
    time.sleep(SETTLE_S)
    cpu = proxy.cpu_ns() - cpu_before
    user, system = proxy.cpu_ticks_s()
    count = result[unit]
    if count == 0:
        raise BenchError(f"nothing came through: {result['first_fault']}")
    return {"cpu_us": cpu / 1000 / count,
            "user_us": (user - user_before) * 1e6 / count,
            "system_us": (system - system_before) * 1e6 / count,
            "p50_us": result["latency_us"]["p50"], "p99_us": result["latency_us"]["p99"],
            "busy": cpu / 1e9 / (time.monotonic() - began - SETTLE_S),
            "per_s": count / result["seconds"]}


def cpu_per_request(connections, prompt_bytes):
    def measure(bench, contender, **client):
        with bench.running(contender) as proxy:
            settings = dict(client, connections=connections, prompt=prompt_bytes)
            _load_once(bench, proxy, **settings, duration_ms=WARM_MS)
            return _cpu(bench, proxy, "requests",
                        dict(settings, duration_ms=bench.ms(1500, 5000)))

    return measure


def cpu_per_token(streams):
    def measure(bench, contender, **client):
        seconds = bench.ms(2000, 8000) / 1000
        tokens = int(seconds * 50)
        with bench.running(contender) as proxy:
            settings = dict(client, connections=streams, requests=streams, ramp_ms=1000,
                            stream=True, model=f"bench-{tokens}tok-20ms")
            _load_once(bench, proxy, **client, stream=True, duration_ms=WARM_MS,
                       connections=streams, model="bench-5tok")
            return _cpu(bench, proxy, "tokens", settings)

    return measure


def of_same_dialect(measure_one, translated):
    """What a call costs whose client speaks another dialect than the upstream, against the same
    call without translation right before it. `translated` are the settings that make it so."""

    def measure(bench, contender):
        same = measure_one(bench, contender)
        other = measure_one(bench, contender, **translated)
        return {"cpu_us": other["cpu_us"], "same_cpu_us": same["cpu_us"],
                "cpu_ratio": other["cpu_us"] / same["cpu_us"]}

    return measure


def of_plain(measure_one, routed=RoutedWeir):
    """What a call costs by a route with everything switched on, against the same call right before
    it that names its provider, is tried once and leaves no journal."""

    def measure(bench, contender):
        models = ["bench", "bench-5tok"] + [f"bench-{bench.ms(2000, 8000) // 20}tok-20ms"]
        plain = measure_one(bench, PlainWeir(contender.program))
        other = measure_one(bench, routed(contender.program, models))
        return {"cpu_us": other["cpu_us"], "plain_cpu_us": plain["cpu_us"],
                "cpu_ratio": other["cpu_us"] / plain["cpu_us"]}

    return measure


def sockets(bench, contender):
    """50 realtime sessions whose provider sends 50 messages a second: what a message costs the
    proxy, how long it takes, and how long a client's interruption takes meanwhile. Beside it what
    an event of the same size costs in as many streams, right before."""
    tokens = cpu_per_token(50)(bench, contender)
    tool = Sockets(bench.sockets_program, bench.cores.load, sessions=50, interval_ms=20,
                   bytes=SOCKET_BYTES, seconds=bench.ms(2000, 8000) // 1000,
                   key=contender.key)
    with bench.running(SocketWeir(contender.program, tool.port)) as proxy:
        tool.open(proxy.port)
        cpu_before = proxy.cpu_ns()
        result = tool.run()
        cpu = proxy.cpu_ns() - cpu_before
    if result["errors"] > 0:
        bench.problems.append(f"{contender.name}: sockets: {result['first_fault']}")
    cpu_us = cpu / 1000 / result["messages"]
    return {"cpu_us": cpu_us, "event_cpu_us": tokens["cpu_us"],
            "cpu_ratio": cpu_us / tokens["cpu_us"], "messages": result["messages"],
            "transit_p50_us": result["transit_us"]["p50"],
            "transit_p99_us": result["transit_us"]["p99"],
            "cancel_p50_us": result["cancel_us"]["p50"],
            "cancel_p99_us": result["cancel_us"]["p99"]}


def _quantiles(times, name=""):
    return {f"{name}p50_us": times["p50"], f"{name}p99_us": times["p99"]}


def latency(stream):
    def measure(bench, contender):
        settings = {"stream": True, "model": "bench-4tok"} if stream else {}
        with bench.running(contender) as proxy:
            _load_once(bench, proxy, **settings, duration_ms=WARM_MS)
            result = _load_once(bench, proxy, **settings, duration_ms=bench.ms(1000, 4000))
        sample = _quantiles(result["latency_us"])
        if stream:
            sample.update(_quantiles(result["ttft_us"], "ttft_"))
        return sample

    return measure


def token_transit(bench, contender):
    """One stream: how long a token takes from the upstream's send to the client."""
    tokens = bench.ms(1000, 4000) // 2
    with bench.running(contender) as proxy:
        result = _load_once(bench, proxy, stream=True, requests=1,
                            model=f"bench-{tokens}tok-2ms")
    return _quantiles(result["transit_us"])


def ttft_open_loop(rate, fresh):
    def measure(bench, contender):
        with bench.running(contender) as proxy:
            settings = {"stream": True, "rate": rate, "model": "bench-20tok-20ms", "fresh": fresh}
            _load_once(bench, proxy, **settings, duration_ms=WARM_MS)
            result = _load_once(bench, proxy, **settings, duration_ms=bench.ms(1500, 6000))
        return _quantiles(result["ttft_us"])

    return measure


def _hold(bench, proxy, streams):
    """Opens streams that are silent after their first token."""
    process = bench.load(proxy).start(
        mode="hold", stream=True, connections=streams, model="bench-3tok-1ms-hold",
        ramp_ms=streams // 3, timeout_ms=300000)
    bench.load(proxy).wait_open(process, 60)
    return process


def memory(bench, contender):
    """Memory at rest, with many open streams, and after all is over."""
    streams = bench.streams()
    with bench.running(contender) as proxy:
        _load_once(bench, proxy, requests=1)
        time.sleep(SETTLE_S)
        idle = proxy.memory()
        process = _hold(bench, proxy, streams)
        time.sleep(0.5)
        full = proxy.memory()
        bench.mock.release()
        result = bench.load(proxy).finish(process, 120)
        bench.note(contender.name, result)
        _load_once(bench, proxy, connections=64, duration_ms=bench.ms(500, 3000))
        time.sleep(bench.ms(3000, 60000) / 1000)
        after = proxy.memory()
    sample = {"stream_kib": (full["rss"] - idle["rss"]) / streams / 1024,
              "stream_private_kib": (full["private"] - idle["private"]) / streams / 1024,
              "streams": streams,
              "after_ratio": after["pss"] / idle["pss"]}
    for moment, values in (("idle", idle), ("full", full), ("after", after)):
        for kind, value in values.items():
            sample[f"{moment}_{kind}_mib"] = value / 1048576
    return sample


def hangup(bench, contender):
    """All clients hang up: what still runs upstream two seconds later. Half of the calls are
    streams that are silent after their first token, half wait for an answer."""
    calls = 500
    with bench.running(contender) as proxy:
        _load_once(bench, proxy, requests=1)
        before = bench.mock.stats()["in_progress"]
        groups = [
            bench.load(proxy).start(mode="hangup", connections=calls, ramp_ms=300, timeout_ms=60000,
                                    stream=is_stream, model="bench-3tok-1ms-hold")
            for is_stream in (True, False)]
        for process in groups:
            bench.load(proxy).wait_open(process, 30)
        processes.wait_until(
            lambda: bench.mock.stats()["in_progress"] - before == 2 * calls, 10,
            "not all calls have reached the upstream")
        for process in groups:
            bench.load(proxy).hang_up(process)
        began = time.monotonic()
        running_on = 2 * calls
        gone_after_ms = None
        while time.monotonic() < began + 2:
            running_on = bench.mock.stats()["in_progress"] - before
            if running_on == 0:
                gone_after_ms = (time.monotonic() - began) * 1000
                break
            time.sleep(0.01)
        sample = {"calls": 2 * calls, "left": running_on, "gone_after_ms": gone_after_ms}
    bench.mock.release()
    processes.wait_until(lambda: bench.mock.stats()["in_progress"] == before, 10,
                         "the mock still has calls")
    return sample


def start_time(bench, contender):
    """From the start of the program to its first good answer."""
    folder = bench.folder(contender)
    os.makedirs(folder, exist_ok=True)
    times = []
    for _ in range(5):
        port = processes.free_port()
        command = contender.command(folder, port, bench.mock.port)
        result = bench.load_at(contender, port).run_command(
            command, child_cpu=bench.cores.proxy + 1, timeout_ms=10000)
        bench.note(contender.name, result)
        if result["requests"] == 1:
            times.append(result["latency_us"]["max"] / 1000)
    if not times:
        raise BenchError(result["first_fault"])
    return {"ms": statistics.median(times)}


def stuck_log(bench, contender):
    """What a request costs and how long it takes when the access log goes to a pipe that nobody
    reads, against the same with a file."""
    numbers = []
    for variant in (contender, StuckLogWeir(contender.program)):
        with bench.running(variant) as proxy:
            # Enough requests to fill the pipe.
            _load_once(bench, proxy, duration_ms=WARM_MS)
            sample = _cpu(bench, proxy, "requests", {"duration_ms": bench.ms(1000, 4000)})
            numbers.append(sample)
    plain, stuck = numbers
    return {"cpu_ratio": stuck["cpu_us"] / plain["cpu_us"],
            "p50_ratio": stuck["p50_us"] / plain["p50_us"],
            "p99_ratio": stuck["p99_us"] / plain["p99_us"]}


def _h2_body(contender, prompt_bytes, **more):
    messages = [{"role": "user", "content": "x" * prompt_bytes}]
    return {"model": contender.model_prefix + "bench", "messages": messages, **more}


def h2_cpu_per_request(connections, streams, prompt_bytes):
    """CPU time of the proxy per request of clients that speak HTTP/2; upstream it is HTTP/1.1."""

    def measure(bench, contender):
        with bench.running(over_h2(contender)) as proxy:
            body = _h2_body(contender, prompt_bytes)
            settings = {"connections": connections, "streams": streams}
            h2load.run(bench, proxy, body, requests=500, **settings)
            before = proxy.cpu_ns()
            result = h2load.run(bench, proxy, body, requests=bench.ms(15000, 60000), **settings)
            time.sleep(SETTLE_S)
            cpu = proxy.cpu_ns() - before
        if result["succeeded"] < result["total"]:
            bench.problems.append(f"{contender.name}: of {result['total']} requests over HTTP/2 "
                                  f"{result['succeeded']} were answered")
        return {"cpu_us": cpu / 1000 / max(result["succeeded"], 1)}

    return measure


def h2_lost(connections, streams):
    """Streams side by side on few connections: how many did not end well, and bytes that are
    missing of their bodies, or too many."""

    def measure(bench, contender):
        with bench.running(over_h2(contender)) as proxy:
            body = _h2_body(contender, 100, stream=True)
            body["model"] = contender.model_prefix + "bench-50tok-20ms"
            one = h2load.run(bench, proxy, body, connections=1, streams=1, requests=1)
            count = connections * streams
            all_of_them = h2load.run(bench, proxy, body, connections=connections, streams=streams,
                                     requests=count)
        return {"streams": count, "lost": count - all_of_them["succeeded"],
                "bytes_off": abs(all_of_them["bytes"] - count * one["bytes"])}

    return measure
