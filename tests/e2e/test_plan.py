"""weir plan: where a request would go, told beforehand."""

import json

import pytest

from harness.weir import run

CONFIG = """
providers:
  openai: {api_key: sk-never-shown}
  anthropic: {api_key: sk-never-shown}
keys:
  - {name: gold-app, value: wk-0123456789abcdef0123456789abcdef, team: gold}
  - {name: narrow, value: wk-1123456789abcdef0123456789abcdef, models: [openai/o3, fast]}
routes:
  fast:
    strategy: priority
    targets: [{target: openai/gpt-4o-mini}, {target: anthropic/claude-haiku-4-5}]
    fallbacks: {general: [openai/gpt-4o], context_window: [openai/gpt-4.1]}
  cheap:
    strategy: cost
    least_quality: 50
    targets:
      - {target: openai/gpt-4o, quality: 80}
      - {target: openai/gpt-4o-mini, quality: 60}
      - {target: openai/nobody-priced-this, quality: 60}
      - {target: openai/gpt-4.1-nano, quality: 30}
  support:
    strategy: conditional
    targets:
      - {target: cheap, when: {metadata.plan: free}}
      - target: openai/gpt-4.1
        when: {$or: [{headers.x-long: {$exists: true}}, {key.team: gold}]}
      - {target: anthropic/claude-sonnet-4-5}
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "weir.yaml"
    path.write_text(CONFIG)

    def ask(body, *options):
        text = body if isinstance(body, str) else json.dumps({"messages": [], **body})
        done = run("plan", "--config", str(path), *options, stdin=text)
        assert "sk-never-shown" not in done.stdout + done.stderr
        return done

    return ask


def names(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_targets_stand_in_the_order_in_which_they_are_tried(plan):
    assert names(plan({"model": "fast"})) == [
        "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "openai/gpt-4o",
    ]  # fmt: skip
    assert names(plan({"model": "openai/o3"})) == ["openai/o3"]
    off = plan({"model": "fast"}, "--header", "X-Weir-Fallback: off")
    assert names(off) == ["openai/gpt-4o-mini"]
    own = plan({"model": "fast", "fallbacks": ["openai/o3", {"model": "openai/o4-mini"}]})
    assert names(own)[2:] == ["openai/o3", "openai/o4-mini"]


def test_the_cheapest_that_is_good_enough(plan):
    assert names(plan({"model": "cheap"})) == [
        "openai/gpt-4o-mini", "openai/gpt-4o", "openai/nobody-priced-this",
    ]  # fmt: skip
    told = plan({"model": "cheap"}, "--explain").stdout
    assert "about $0.0" in told
    assert "openai/nobody-priced-this  unpriced" in told
    assert "out  openai/gpt-4.1-nano        its quality of 30 is below the 50 wanted" in told


def test_conditions_see_headers_metadata_and_the_key(plan):
    def first(body, *options):
        return names(plan({"model": "support", **body}, *options))[0]

    assert first({}) == "anthropic/claude-sonnet-4-5"
    assert first({"metadata": {"plan": "free"}}) == "openai/gpt-4o-mini"
    assert first({}, "--header", "X-Long: 1") == "openai/gpt-4.1"
    assert first({}, "--key", "gold-app") == "openai/gpt-4.1"
    told = plan({"model": "support"}, "--explain").stdout
    assert "its condition does not hold" in told and "has no condition" in told


def test_what_the_key_may_not_use_is_out(plan):
    narrow = ("--key", "narrow", "--explain")
    assert "out  openai/gpt-4o-mini  the key may not use it" in (
        none := plan({"model": "openai/gpt-4o-mini"}, *narrow)
    ).stdout
    assert "the key may use none of these" in none.stdout and none.returncode == 1
    own = plan({"model": "fast", "fallbacks": ["openai/o3", "openai/o4-mini"]}, "--key", "narrow")
    assert names(own) == ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "openai/o3"]


def test_the_same_as_json(plan):
    done = plan({"model": "fast:floor", "stream": True}, "--json", "-")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["route"], told["order"], told["verdict"]) == ("fast", "floor", "ok")
    primary = [t for t in told["targets"] if t["part"] == "primary"]
    assert [t["model"] for t in primary] == ["gpt-4o-mini", "claude-haiku-4-5"]
    assert primary[0]["price_usd"] < primary[1]["price_usd"]
    assert all(t["reason"] and t["is_in"] for t in told["targets"])


def test_every_dialect_is_read(plan):
    for dialect in ("openai_chat", "anthropic", "gemini", "bedrock", "cohere", "openai_responses"):
        body = {"model": "fast", "input": [], "contents": [], "max_tokens": 1}
        done = plan(body, "--dialect", dialect, "--model", "cheap")
        assert names(done)[0] == "openai/gpt-4o-mini", dialect
    assert plan({"model": "fast"}, "--dialect", "anthropic", "--stream").returncode == 0


def test_a_file_is_read_as_well(plan, tmp_path):
    request = tmp_path / "request.json"
    request.write_text('{"model": "fast", "messages": []}')
    assert names(plan("", str(request)))[0] == "openai/gpt-4o-mini"


@pytest.mark.parametrize(
    "body, options, says",
    [
        ({"model": "nope"}, [], "no such model"),
        ('{"model":', [], "invalid JSON"),
        ("{}", ["--dialect", "gemini"], "--model"),
        ({"model": "fast"}, ["--dialect", "gemni"], "gemini"),
        ({"model": "fast"}, ["--key", "nobody"], "nobody"),
        ({"model": "fast"}, ["--header", "no colon"], "name:value"),
        ({"model": "fast", "fallbacks": 3}, [], "fallbacks"),
        ({"model": "fast"}, ["/nowhere/request.json"], "/nowhere/request.json"),
    ],
)
def test_what_is_wrong_is_told(plan, body, options, says):
    done = plan(body, *options)
    assert done.returncode > 0
    assert says in done.stdout + done.stderr


def test_a_wrong_config_is_told(tmp_path):
    path = tmp_path / "weir.yaml"
    path.write_text(CONFIG.replace("target: cheap,", "target: support,"))
    done = run("plan", "--config", str(path), stdin='{"model": "fast", "messages": []}')
    assert done.returncode > 0 and "support" in done.stderr
