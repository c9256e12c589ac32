"""GET /metrics: after known traffic the counters say just that."""

import json

from harness.upstream import answer, chat
from harness.weir import config, provider, wait_until

CHAT = {"model": "up/m", "messages": []}


def test_known_traffic_is_counted(weir, upstream):
    upstream.handler = chat(["a", "b", "c"], usage=(10, 4))
    for _ in range(3):
        weir.chat(CHAT | {"stream": True})
    weir.chat(CHAT)  # usage 7 + 3
    upstream.handler = answer({"error": {"message": "x"}}, 500)
    weir.chat(CHAT)
    weir.chat(b"{}")
    wait_until(lambda: weir.metric("weir_requests_total", operation="chat") == 6)
    assert weir.metric("weir_requests_total", operation="chat", outcome="ok") == 4
    assert weir.metric("weir_requests_total", operation="chat", outcome="upstream_error") == 1
    assert weir.metric("weir_requests_total", operation="chat", outcome="client_error") == 1
    assert weir.metric("weir_requests_in_flight", operation="chat") == 0
    duration = "gen_ai_client_operation_duration_seconds"
    assert weir.metric(f"{duration}_count", gen_ai_request_model="m") == 5
    tokens = "gen_ai_client_token_usage"
    assert weir.metric(f"{tokens}_sum", gen_ai_token_type="input") == 37
    assert weir.metric(f"{tokens}_sum", gen_ai_token_type="output") == 15
    assert weir.metric("gen_ai_server_time_to_first_token_seconds_count") == 3


def test_in_flight_requests_are_seen(weir, upstream):
    upstream.handler = lambda call: call.wait_hang_up()
    clients = [weir.client() for _ in range(3)]
    for client in clients:
        client.send(client.build("POST", "/v1/chat/completions", json.dumps(CHAT).encode()))
    upstream.wait(lambda u: u.in_progress == 3)
    assert weir.metric("weir_requests_in_flight", operation="chat") == 3
    for client in clients:
        client.close()
    wait_until(lambda: weir.metric("weir_requests_in_flight", operation="chat") == 0)


def test_every_histogram_is_consistent(weir, upstream):
    upstream.handler = chat(["a", "b"], gap_s=0.002)
    for _ in range(5):
        weir.chat(CHAT | {"stream": True})
    samples = weir.metrics()
    series = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket"):
            rest = frozenset(kv for kv in labels if kv[0] != "le")
            series.setdefault((name[:-7], rest), []).append((float(dict(labels)["le"]), value))
    assert series
    for (name, labels), buckets in series.items():
        buckets.sort()
        counts = [count for _, count in buckets]
        assert counts == sorted(counts), f"{name} is not cumulative"
        assert buckets[-1][0] == float("inf")
        assert counts[-1] == samples[(f"{name}_count", labels)]
        assert (f"{name}_sum", labels) in samples


def test_the_number_of_series_is_bounded(make_weir, upstream):
    """A client that invents model names cannot fill the memory."""
    weir = make_weir(config({"up": provider(upstream)}, metrics={"max_series": 100}, threads=1))
    upstream.handler = answer(b"{}")
    before = len(weir.metrics())
    with weir.client() as client:
        for i in range(400):
            assert client.chat({"model": f"up/invented-{i}", "messages": []}).status == 200
    samples = weir.metrics()
    models = {dict(labels).get("gen_ai_request_model") for _, labels in samples}
    assert len(models) < 150 and "other" in models
    assert weir.metric("weir_requests_total", operation="chat") == 400
    assert len(samples) < before + 100 * 80


def test_pool_build_and_loop_are_there(weir, upstream):
    with weir.client() as client:
        for _ in range(4):
            assert client.chat(CHAT).status == 200
    assert weir.metric("weir_upstream_connections_opened_total") == 1
    assert weir.metric("weir_upstream_connections_reused_total") == 3
    names = {name for name, _ in weir.metrics()}
    assert "weir_build_info" in names
    assert any("loop" in name for name in names)
    info = [dict(labels) for name, labels in weir.metrics() if name == "weir_build_info"]
    assert len(info) == 1 and info[0]["version"]


def test_a_label_cannot_break_the_page(weir, upstream):
    upstream.handler = answer(b"{}")
    weir.chat({"model": 'up/evil"}\n# HELP x y\nevil 1\\', "messages": []})
    assert weir.metrics()  # parsed
    assert not any(name == "evil" for name, _ in weir.metrics())
