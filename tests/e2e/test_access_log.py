"""The access log: one JSON line a request, no secrets, and never in the way."""

import json
import os
import time

import pytest

from harness.upstream import CHAT_ANSWER, answer, chat
from harness.weir import config, patience, provider, virtual_key, wait_until

CHAT = {"model": "up/m", "messages": [{"role": "user", "content": "PROMPT-WORDS"}]}


def test_one_line_a_request_with_what_happened(weir, upstream):
    upstream.handler = chat(["ANSWER-WORDS"], usage=(12, 5))
    got = weir.chat(CHAT | {"stream": True})
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["request_id"] == got.headers.get("x-weir-request-id")
    assert entry["time"].endswith("Z")
    expected = {
        "method": "POST", "path": "/v1/chat/completions", "client": "127.0.0.1", "status": 200,
        "upstream_status": 200, "outcome": "ok", "stream": True, "model": "up/m",
        "provider": "up", "upstream_model": "m", "response_model": "m", "attempts": 1,
        "finish_reason": "stop", "input_tokens": 12, "output_tokens": 5, "dialect": "openai_chat",
    }  # fmt: skip
    assert {k: entry.get(k) for k in expected} == expected
    assert entry["bytes_out"] == len(got.body)
    assert 0 < entry["ttft_ms"] <= entry["duration_ms"]
    assert 0 <= entry["overhead_ms"] <= entry["duration_ms"]


def test_usage_of_an_answer_in_one_piece(weir, upstream):
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
             "prompt_tokens_details": {"cached_tokens": 80},
             "completion_tokens_details": {"reasoning_tokens": 20}}  # fmt: skip
    upstream.handler = answer(CHAT_ANSWER | {"usage": usage})
    weir.chat(CHAT)
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["input_tokens"] == 100 and entry["output_tokens"] == 50
    assert entry["cache_read_tokens"] == 80 and entry["reasoning_tokens"] == 20


def test_every_request_has_its_line_whatever_became_of_it(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream), "other": provider(upstream)}))
    weir.chat(b"{")
    weir.get("/nonsense")
    weir.get("/v1/chat/completions")
    weir.chat({"model": "nobody/x"})
    upstream.handler = answer({"error": {"message": "x"}}, 429)
    weir.chat(CHAT)
    statuses = [e["status"] for e in wait_for_lines(weir, 5)]
    assert sorted(statuses) == [400, 404, 404, 405, 429]
    outcomes = {e["status"]: e["outcome"] for e in weir.log_entries()}
    assert outcomes[400] == "client_error" and outcomes[429] == "upstream_error"


def wait_for_lines(weir, count):
    def enough():
        entries = [e for e in weir.log_entries() if e["operation"] not in ("ready", "metrics")]
        return entries if len(entries) >= count else None

    return wait_until(enough, what=f"{count} log lines")


def test_nothing_that_was_said_and_no_secret_is_in_it(make_weir, upstream):
    weir = make_weir(
        config(
            {"up": provider(upstream)},
            keys=[virtual_key("team", value="wk-secret-0001")],
            log={"access": "stdout", "level": "debug"},
        )
    )
    upstream.handler = chat(["ANSWER-WORDS"])
    weir.client().chat(CHAT | {"stream": True}, key="wk-secret-0001")
    weir.client().chat(CHAT, {"Cookie": "COOKIE-WORDS"}, key="wk-secret-0001")
    weir.client().ask("POST", "/v1/chat/completions?token=QUERY-WORDS", CHAT, key="wk-secret-0001")
    upstream.handler = answer(b"<html>PAGE-WORDS</html>", 500, {"Content-Type": "text/html"})
    weir.client().chat(CHAT, key="wk-secret-0001")
    wait_for_lines(weir, 4)
    weir.stop()
    everything = "".join(weir.lines) + weir.stderr()
    for secret in ("PROMPT-WORDS", "ANSWER-WORDS", "COOKIE-WORDS", "QUERY-WORDS", "wk-secret",
                   "sk-upstream"):  # fmt: skip
        assert secret not in everything


def test_what_a_client_writes_cannot_forge_a_line(weir):
    evil = 'm"}\n{"status":200,"forged":true'
    weir.chat({"model": evil, "messages": []})
    weir.get("/%0a%22forged")
    weir.chat({"model": "x" * 100000, "messages": []})
    weir.chat(b'{"model":"bad \xff\xc0\xaf utf-8 \x80","messages":[]}')
    entries = wait_for_lines(weir, 4)
    assert not any("forged" in e for e in entries)
    assert evil in [e.get("model") for e in entries]
    assert all(len(line) < 20000 for line in weir.lines)


def test_the_log_can_be_a_file_and_be_rotated(make_weir, upstream, tmp_path):
    import signal

    path = tmp_path / "access.log"
    weir = make_weir(config({"up": provider(upstream)}, log={"access": str(path)}))
    weir.chat(CHAT)
    wait_until(lambda: "chat" in path.read_text())
    assert path.stat().st_mode & 0o007 == 0, "others may read it"
    path.rename(tmp_path / "access.log.1")
    weir.signal(signal.SIGUSR1)
    wait_until(path.exists, what="the new file")
    weir.chat(CHAT | {"user": "2"})
    wait_until(lambda: len([x for x in path.read_text().splitlines() if '"chat"' in x]) == 1)
    for line in (path.read_text() + (tmp_path / "access.log.1").read_text()).splitlines():
        json.loads(line)
    assert weir.lines == []


def test_the_log_can_be_off(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, log={"access": "off"}))
    weir.chat(CHAT)
    weir.stop()
    assert weir.lines == []


def test_L3_a_sink_that_nobody_reads_costs_nothing_and_its_losses_are_counted(
    make_weir, upstream, tmp_path
):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    # Somebody has it open, so weir can open it; nobody ever reads.
    keeper = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        rows = {"a": provider(upstream), "b": provider(upstream)}
        weir = make_weir(config(rows, log={"access": str(path)}))
        upstream.handler = answer(b"{}")
        body = json.dumps({"model": "nobody/" + "x" * 900, "messages": []}).encode()
        slowest, count = 0.0, 0
        with weir.client() as client:
            deadline = time.monotonic() + 60
            while weir_drops(weir) == 0:
                assert time.monotonic() < deadline, "nothing was ever dropped"
                for _ in range(1000):
                    began = time.monotonic()
                    assert client.chat(body).status == 404
                    slowest = max(slowest, time.monotonic() - began)
                    count += 1
        assert slowest < 1.0 * patience(), f"a request waited for the log ({slowest:.3f} s)"
        assert weir.chat({"model": "a/m", "messages": []}).status == 200
        weir.stop()
    finally:
        os.close(keeper)


def weir_drops(weir):
    return weir.metric("weir_access_log_dropped_lines_total")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_L3_a_full_disk_costs_nothing_and_its_losses_are_counted(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, log={"access": "/dev/full"}))
    for _ in range(20):
        assert weir.chat(CHAT).status == 200
    wait_until(lambda: weir_drops(weir) > 0, what="the count of lost lines")
