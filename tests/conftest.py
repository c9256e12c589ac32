"""Fixtures of every test of the running program."""

import os
import random
import signal
import threading

import pytest

from harness import h2bridge
from harness import weir as weir_module
from harness.recordings import folder as wire_folder
from harness.upstream import Upstream
from harness.weir import Weir

SEED = os.environ.get("WEIR_TEST_SEED") or str(random.SystemRandom().randrange(10**9))


def pytest_report_header():
    return [
        f"weir: {weir_module.binary()}",
        f"recorded traffic: {wire_folder()} ({'there' if wire_folder().is_dir() else 'absent'})",
        f"seed of all random cuts: WEIR_TEST_SEED={SEED}",
    ]


def pytest_configure(config):
    config.addinivalue_line("markers", "sizes: asserts figures that sanitizers change")
    config.addinivalue_line("markers", "http1(why): says something of HTTP/1.1 alone")


def pytest_collection_modifyitems(config, items):
    if h2bridge.is_asked_for():
        # Over HTTP/2 as well: what has something to say of requests and answers.
        alike = [item for item in items if item.get_closest_marker("http1")]
        config.hook.pytest_deselected(items=alike)
        items[:] = [item for item in items if item not in alike]
    if any(item.get_closest_marker("sizes") for item in items) and weir_module.is_sanitized():
        skip = pytest.mark.skip(reason="a sanitizer build: its memory and speed say nothing")
        for item in items:
            if item.get_closest_marker("sizes"):
                item.add_marker(skip)


# --- what a failed test shows ---

_running = []  # processes and upstreams that live now


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    report.sections.append(("seed", f"WEIR_TEST_SEED={SEED}"))
    for thing in _running:
        if isinstance(thing, Weir):
            report.sections.append((f"weir {thing.process.pid} stderr", tail(thing.stderr())))
            report.sections.append(
                (f"weir {thing.process.pid} access log", tail("".join(thing.lines)))
            )
        elif thing.complaints:
            report.sections.append(("upstream complaints", "\n".join(thing.complaints)))


def tail(text, lines=60):
    return "\n".join(text.splitlines()[-lines:])


# --- fixtures ---


@pytest.fixture
def rng(request):
    """Random, but the same again for the same seed and test."""
    return random.Random(f"{SEED}:{request.node.nodeid}")


def _upstreams():
    made = []

    def make(handler=None, **more):
        upstream = Upstream(handler, **more)
        made.append(upstream)
        _running.append(upstream)
        return upstream

    yield make
    complaints = []
    for upstream in made:
        upstream.stop()
        _running.remove(upstream)
        complaints += upstream.complaints
    assert not complaints, "what weir sent upstream was wrong: " + "; ".join(complaints)


def _weirs(folders):
    made = []

    def make(settings=None, **more):
        more.setdefault("folder", folders.mktemp("weir"))
        process = Weir(settings, **more)
        made.append(process)
        _running.append(process)
        return process

    yield make
    problems = []
    for process in reversed(made):
        try:
            process.stop()
        except AssertionError as error:
            problems.append(str(error))
            process.kill()
        _running.remove(process)
    assert not problems, "\n".join(problems)


# Fixtures end in the reverse order of their making: weir goes before the upstreams it calls.


@pytest.fixture
def make_upstream():
    yield from _upstreams()


@pytest.fixture
def upstream(make_upstream):
    """One upstream that answers every chat orderly until told otherwise."""
    return make_upstream()


@pytest.fixture
def make_weir(tmp_path_factory, make_upstream):
    yield from _weirs(tmp_path_factory)


@pytest.fixture(scope="module")
def make_shared_upstream():
    yield from _upstreams()


@pytest.fixture(scope="module")
def make_shared_weir(tmp_path_factory, make_shared_upstream):
    yield from _weirs(tmp_path_factory)


@pytest.fixture
def weir(make_weir, upstream):
    """weir with one provider `up` in front of `upstream`, open, logging to stdout."""
    return make_weir(weir_module.config({"up": weir_module.provider(upstream)}))


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    """A thread that died of an assertion must fail its test, not vanish."""
    failures = []
    previous = threading.excepthook
    threading.excepthook = lambda args: failures.append(args)
    yield
    threading.excepthook = previous
    assert not failures, f"a thread of the test died: {failures}"


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
