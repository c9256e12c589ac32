"""Autobahn's WebSocket cases through the relay, in both roles, beside a run without it.

weir is the server of the fuzzing client, and the client of the fuzzing server; the other end is the
library `websockets`. What goes wrong without weir in between (that library's own bounds) may go
wrong with it; nothing else may. WEIR_AUTOBAHN="9.* 12.1.*" names other cases,
"*" is all of them, which take many minutes.
"""

import asyncio
import logging
import os

import kosoku
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import WebSocketException

from harness.weir import config, provider

# Of the limits and of compression, which have hundreds of cases of some seconds each, the first of
# every kind.
SOME = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.5.1", "9.6.1"]
SOME += ["9.7.1", "9.8.1", "10.*"]
SOME += [f"12.{kind}.1" for kind in range(1, 6)] + [f"13.{kind}.1" for kind in range(1, 8)]
CASES = os.environ.get("WEIR_AUTOBAHN", "").split() or SOME
AT_ONCE = 4
LIMIT_S = 240 if CASES is SOME else 3000
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}

pytestmark = pytest.mark.timeout(2 * LIMIT_S)

quiet = logging.getLogger("weir.tests.autobahn")
quiet.setLevel(logging.CRITICAL)


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except WebSocketException:
        pass  # a case that ends badly on purpose


def socket_options():
    return {"max_size": None, "ping_interval": None, "logger": quiet}


def failures(results):
    """{case: what was wrong}"""
    return {
        r.case_id: (r.behavior.value, r.behavior_close.value)
        for r in results
        if r.behavior.value not in GOOD or r.behavior_close.value not in {"OK", "INFORMATIONAL"}
    }


async def judge_server(url):
    try:
        return await kosoku.run_fuzzingclient(url, cases=CASES, concurrency=AT_ONCE)
    except kosoku.FailureError as e:
        return e.results


async def judge_clients(url_of):
    """Runs every case of a fuzzing server with clients that connect to url_of(its port)."""
    async with kosoku.run_fuzzingserver(cases=CASES, port=0) as server:
        url = url_of(server.port)
        async with connect(f"ws://127.0.0.1:{server.port}/getCaseCount", proxy=None) as socket:
            count = int(await socket.recv())
        left = iter(range(1, count + 1))

        async def run_cases():
            for case in left:
                try:
                    path = f"{url}case={case}&agent=weir"
                    async with connect(path, proxy=None, **socket_options()) as socket:
                        await echo(socket)
                except (WebSocketException, EOFError, OSError):
                    pass

        await asyncio.gather(*[run_cases() for _ in range(AT_ONCE)])
        path = f"ws://127.0.0.1:{server.port}/updateReports?agent=weir"
        async with connect(path, proxy=None) as socket:
            await echo(socket)
        try:
            return await asyncio.wait_for(server.get_result(), 60)
        except kosoku.FailureError as e:
            return e.results


def make_settings(port, path):
    rows = {"up": provider(f"http://127.0.0.1:{port}", paths={"realtime": path})}
    return config(rows, realtime={"message": "64MiB"})


def assert_as_good(through, direct):
    assert len(through) == len(direct) > (250 if CASES is SOME else 0)
    bad = failures(through)
    known = failures(direct)
    print(f"{len(through)} cases; without weir: {known}")
    assert {case: bad[case] for case in bad if case not in known} == {}
    assert len(known) < len(direct) / 2, "the run without weir says nothing"


def test_weir_is_as_good_a_server_as_the_one_behind_it(make_weir):
    async def run():
        async with serve(echo, "127.0.0.1", 0, **socket_options()) as server:
            port = server.sockets[0].getsockname()[1]
            weir = make_weir(make_settings(port, "/echo"))
            direct = await judge_server(f"ws://127.0.0.1:{port}/echo")
            through = await judge_server(f"ws://127.0.0.1:{weir.port}/v1/realtime?model=up/m")
        return through, direct

    assert_as_good(*asyncio.run(asyncio.wait_for(run(), LIMIT_S)))


def test_weir_is_as_good_a_client_as_the_one_behind_it(make_weir):
    def through_weir(port):
        weir = make_weir(make_settings(port, "/runCase"))
        return f"ws://127.0.0.1:{weir.port}/v1/realtime?model=up/m&"

    async def run():
        direct = await judge_clients(lambda port: f"ws://127.0.0.1:{port}/runCase?")
        return await judge_clients(through_weir), direct

    assert_as_good(*asyncio.run(asyncio.wait_for(run(), LIMIT_S)))
