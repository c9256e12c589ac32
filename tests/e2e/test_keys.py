"""Virtual keys: who may use the gateway, and for which models."""

import hashlib
import json
import socket

import pytest

from harness.upstream import chat
from harness.weir import alias, config, provider, run, virtual_key

CHAT = {"model": "up/m", "messages": []}


def hash_of(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def guarded(make_weir, upstream):
    return make_weir(
        config(
            {"up": provider(upstream)},
            models={"fast": alias("up/small")},
            keys=[
                virtual_key("hashed", hash=hash_of("wk-hashed-0001")),
                virtual_key("plain", value="${PLAIN_KEY}"),
                virtual_key("old", value="wk-expired-0001", expires="2020-01-01"),
                virtual_key("later", value="wk-later-00001", expires="2099-12-31T23:59:59Z"),
                virtual_key("off", value="wk-disabled-001", disabled=True),
                virtual_key("narrow", value="wk-narrow-0001", models=["up/gpt-*", "fast"]),
            ],
        ),
        env={"PLAIN_KEY": "wk-plain-00001"},
    )


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "missing_api_key"),
        ({"Authorization": ""}, 401, "missing_api_key"),
        ({"Authorization": "Bearer"}, 401, "missing_api_key"),
        ({"Authorization": "Bearer wk-wrong"}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer wk-hashed-000"}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer wk-hashed-00011"}, 401, "invalid_api_key"),
        ({"Authorization": f"Bearer {hash_of('wk-hashed-0001')}"}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer sk-upstream-secret"}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer wk-expired-0001"}, 401, "expired_api_key"),
        ({"Authorization": "Bearer wk-disabled-001"}, 401, "disabled_api_key"),
        ({"Authorization": "Bearer wk-narrow-0001"}, 403, "model_not_allowed"),
        ({"Authorization": "Bearer wk-hashed-0001"}, 200, None),
        ({"Authorization": "bearer wk-hashed-0001"}, 200, None),
        ({"Authorization": "Bearer   wk-hashed-0001"}, 200, None),
        ({"api-key": "wk-plain-00001"}, 200, None),
        ({"x-api-key": "wk-later-00001"}, 200, None),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_D3_who_gets_in(guarded, upstream, headers, status, code, path):
    got = guarded.client().ask("POST", path, json.dumps(CHAT).encode(), headers)
    assert got.status == status
    if code is None:
        assert len(upstream.requests) == 1
        return
    assert got.error["code"] == code and got.error["type"] == "invalid_request_error"
    assert upstream.requests == []
    assert "wk-" not in got.error["message"] and "sk-" not in got.error["message"]


def test_two_credentials_are_not_tried_one_after_the_other(guarded, upstream):
    """One wrong key is an answer: the gateway is no oracle that tries all carriers."""
    headers = {"Authorization": "Bearer wk-wrong", "x-api-key": "wk-plain-00001"}
    assert guarded.client().chat(CHAT, headers).status == 401
    headers = [("Authorization", "Bearer wk-wrong"), ("Authorization", "Bearer wk-plain-00001")]
    assert guarded.client().chat(CHAT, headers).status in (400, 401)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("up/gpt-4o", 200),
        ("up/gpt-", 200),
        ("fast", 200),  # by the name that was asked for
        ("up/small", 403),  # what is behind the alias was not given
        ("up/other", 403),
        ("up/GPT-4o", 403),
        ("sim/echo", 403),
    ],
)
def test_a_key_reaches_only_its_models(guarded, upstream, model, status):
    got = guarded.client().chat(CHAT | {"model": model}, key="wk-narrow-0001")
    assert got.status == status
    assert len(upstream.requests) == (1 if status == 200 else 0)


def test_model_lists_and_metrics_follow_the_key_rule(guarded):
    assert guarded.get("/v1/models").status == 401
    assert guarded.get("/healthz").status == 200
    assert guarded.get("/readyz").status == 200
    assert guarded.get("/metrics").status == 200  # on loopback


def test_the_providers_never_see_the_virtual_key(guarded, upstream):
    guarded.client().chat(CHAT, key="wk-hashed-0001")
    assert b"wk-" not in upstream.only_request().raw_head


def test_a_key_is_named_in_log_and_metrics_but_never_shown(guarded, upstream):
    upstream.handler = chat()
    guarded.client().chat(CHAT, key="wk-hashed-0001")
    guarded.client().chat(CHAT, key="wk-narrow-0001")
    guarded.client().chat(CHAT, key="wk-wrong-0001")
    assert guarded.log_entries(1, key="hashed")[0]["status"] == 200
    assert guarded.log_entries(1, key="narrow")[0]["status"] == 403
    guarded.log_entries(1, status=401)
    everything = "".join(guarded.lines) + guarded.stderr() + guarded.get("/metrics").body.decode()
    for secret in ("wk-", "sk-upstream", hash_of("wk-hashed-0001")[7:]):
        assert secret not in everything


def test_without_keys_weir_is_open_on_loopback(weir):
    assert weir.chat(CHAT).status == 200


def test_auth_none_lets_all_in(make_weir, upstream):
    weir = make_weir(config({"up": provider(upstream)}, auth="none", listen=["0.0.0.0:0"]))
    assert weir.chat(CHAT).status == 200
    assert weir.client().chat(CHAT, key="anything").status == 200


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_an_open_gateway_for_everyone_is_refused_with_an_explanation(tmp_path, address):
    path = tmp_path / "weir.yaml"
    path.write_text(f'listen: ["{address}"]\nproviders:\n  sim:\n')
    for command in (["check", str(path)], ["run", "--config", str(path)]):
        done = run(*command)
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert "weir.yaml:1:" in said and "keys" in said and "auth: none" in said
    done = run("run", "--listen", address)
    assert done.returncode != 0
    assert "WEIR_KEYS" in done.stderr and "WEIR_AUTH=none" in done.stderr


def test_with_keys_any_address_may_be_bound(make_weir, upstream):
    weir = make_weir(
        config(
            {"up": provider(upstream)},
            listen=["0.0.0.0:0"],
            keys=[virtual_key("team", value="wk-team-00001")],
        )
    )
    assert weir.client().chat(CHAT).status == 401
    assert weir.client().chat(CHAT, key="wk-team-00001").status == 200
    assert weir.get("/metrics").status == 401  # others could read it
    assert weir.get("/metrics", key="wk-team-00001").status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
@pytest.mark.http1("the bridge has no IPv6")
def test_ipv6_loopback_is_loopback(make_weir, upstream):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("[::1] cannot be bound here")
    weir = make_weir(config({"up": provider(upstream)}, listen=["[::1]:0"]), ready=False)
    with weir.client(host="::1") as client:
        assert client.chat(CHAT).status == 200
