"""What a request cost: in the answer's head, in the log and in the metrics; never made up."""

import pytest

from harness.upstream import CHAT_ANSWER, answer, chat
from harness.weir import config, provider

SAY = {"messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn",
           "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}]}  # fmt: skip

# Per dialect: the model, the provider's answer, and what it costs by these prices.
PRICES = [
    {"provider": "priced-*", "model": "fine-*", "input": 2, "output": "10", "cache_read": 0.2,
     "cache_write_5m": 2.5, "reasoning": 5, "tiers": [{"above": 100000, "input": 4}]},
]  # fmt: skip
ANSWERS = {
    "openai_chat": CHAT_ANSWER
    | {"usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
                 "prompt_tokens_details": {"cached_tokens": 400},
                 "completion_tokens_details": {"reasoning_tokens": 60}}},
    "anthropic": MESSAGE
    | {"model": "fine-1", "usage": {"input_tokens": 600, "output_tokens": 100,
                                    "cache_read_input_tokens": 400,
                                    "cache_creation_input_tokens": 200}},
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]},
                        "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 200000, "candidatesTokenCount": 40,
                          "thoughtsTokenCount": 60, "totalTokenCount": 200100,
                          "cachedContentTokenCount": 100000},
        "modelVersion": "fine-1",
    },
}  # fmt: skip
COSTS = {
    # 600 x 2 + 400 x 0.2 + 40 x 10 + 60 x 5
    "openai_chat": "0.00198",
    # 600 x 2 + 400 x 0.2 + 200 x 2.5 + 100 x 10
    "anthropic": "0.00278",
    # above the tier: 100000 x 4 + 100000 x 0.2 + 40 x 10 + 60 x 5
    "gemini": "0.4207",
}


def priced(upstream, dialect):
    base = upstream.url if dialect != "openai_chat" else f"{upstream.url}/v1"
    return provider(base, dialect=dialect)


def sample(weir, name, dialect, model):
    """The counter's value; 0 where there is no such series."""
    labels = {"operation": "chat", "provider": f"priced-{dialect}", "model": model}
    return weir.metrics().get((name, frozenset(labels.items())), 0)


@pytest.mark.parametrize("dialect", sorted(COSTS))
def test_an_answers_cost_is_in_its_head_the_log_and_the_metrics(make_weir, upstream, dialect):
    name = f"priced-{dialect}"
    weir = make_weir(config({name: priced(upstream, dialect)}, prices=PRICES))
    upstream.handler = answer(ANSWERS[dialect])
    got = weir.chat(SAY | {"model": f"{name}/fine-1"})
    assert got.status == 200, got.body
    assert got.headers.get("x-weir-cost-usd") == COSTS[dialect]
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["cost_usd"] == float(COSTS[dialect]) and "unpriced" not in entry
    assert sample(weir, "weir_cost_usd_total", dialect, "fine-1") == float(COSTS[dialect])
    assert sample(weir, "weir_unpriced_requests_total", dialect, "fine-1") == 0


def test_a_model_without_a_price_is_unpriced_and_not_free(make_weir, upstream):
    weir = make_weir(config({"priced-openai_chat": priced(upstream, "openai_chat")}, prices=PRICES))
    upstream.handler = answer(ANSWERS["openai_chat"])
    got = weir.chat(SAY | {"model": "priced-openai_chat/nobody-knows"})
    assert got.status == 200 and got.headers.get("x-weir-cost-usd") is None
    entry = weir.log_entries(1, operation="chat")[0]
    assert entry["unpriced"] is True and "cost_usd" not in entry
    assert sample(weir, "weir_unpriced_requests_total", "openai_chat", "nobody-knows") == 1
    assert sample(weir, "weir_cost_usd_total", "openai_chat", "nobody-knows") == 0


def test_a_streams_cost_is_known_when_it_is_over(make_weir, upstream):
    weir = make_weir(config({"priced-openai_chat": priced(upstream, "openai_chat")}, prices=PRICES))
    upstream.handler = chat(["Hello"], usage=(1000, 100))
    got = weir.chat(SAY | {"model": "priced-openai_chat/fine-1", "stream": True})
    assert got.status == 200 and got.headers.get("x-weir-cost-usd") is None
    assert weir.log_entries(1, operation="chat")[0]["cost_usd"] == 0.003


def test_without_counts_the_cost_is_not_known_and_errors_cost_nothing(make_weir, upstream):
    weir = make_weir(config({"priced-openai_chat": priced(upstream, "openai_chat")}, prices=PRICES))
    silent = {k: v for k, v in CHAT_ANSWER.items() if k != "usage"}
    upstream.handler = answer(silent)
    got = weir.chat(SAY | {"model": "priced-openai_chat/fine-1"})
    assert got.status == 200 and got.headers.get("x-weir-cost-usd") is None
    upstream.handler = answer({"error": {"message": "x"}}, 400)
    assert weir.chat(SAY | {"model": "priced-openai_chat/unknown"}).status == 400
    for entry in weir.log_entries(2, operation="chat"):
        assert "cost_usd" not in entry and "unpriced" not in entry


def test_prices_that_weir_knows_need_no_config(make_weir, upstream):
    row = priced(upstream, "openai_chat") | {"catalogue": "openai"}
    weir = make_weir(config({"mine": row}))
    upstream.handler = answer(ANSWERS["openai_chat"])
    got = weir.chat(SAY | {"model": "mine/gpt-4o-2024-08-06"})
    # 600 x 2.5 + 400 x 1.25 + 100 x 10
    assert got.headers.get("x-weir-cost-usd") == "0.003"
    assert weir.chat(SAY | {"model": "sim/echo"}).headers.get("x-weir-cost-usd") == "0"
