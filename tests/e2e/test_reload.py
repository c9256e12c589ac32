"""A changed config takes effect without a restart, and without harm."""

import signal
import threading

import pytest

from harness import sse
from harness.rawhttp import Client
from harness.upstream import answer, chat
from harness.weir import alias, config, patience, provider, virtual_key, wait_until


def named(upstream, name="up"):
    """A provider of that name, and another: a lone one would be asked whatever the name."""
    return config({name: provider(upstream), "other": provider(upstream)})


def generation(weir):
    return weir.metric("weir_config_generation")


def reload(weir, settings=None):
    """SIGHUP, and the wait until it took effect."""
    before = generation(weir)
    if settings is not None:
        weir.write_config(settings)
    weir.signal(signal.SIGHUP)
    wait_until(lambda: generation(weir) > before, what="the reload")


CHAT = {"model": "up/m", "messages": []}


def test_sighup_takes_the_new_file(make_weir, upstream):
    weir = make_weir(named(upstream))
    assert weir.chat(CHAT | {"model": "new/m"}).status == 404
    reload(weir, named(upstream, "new"))
    assert weir.chat(CHAT | {"model": "new/m"}).status == 200
    assert weir.chat(CHAT).status == 404


@pytest.mark.parametrize("how", ["replaced", "written in place"])
def test_a_changed_file_is_noticed_by_itself(make_weir, upstream, how):
    weir = make_weir(named(upstream))
    if how == "replaced":
        weir.write_config(named(upstream, "new"))
    else:
        import yaml

        weir.config_path.write_text(yaml.safe_dump(named(upstream, "new")))
    wait_until(lambda: weir.chat(CHAT | {"model": "new/m"}).status == 200, 10, "the reload")


def test_a_changed_secret_file_is_noticed_by_itself(make_weir, upstream, tmp_path):
    secret = tmp_path / "key"
    secret.write_text("sk-one")
    secret.chmod(0o600)
    weir = make_weir(config({"up": provider(upstream, api_key={"file": str(secret)})}))
    weir.chat(CHAT)
    assert upstream.requests[-1].headers.get("authorization") == "Bearer sk-one"
    secret.write_text("sk-two")

    def is_new():
        weir.chat(CHAT)
        return upstream.requests[-1].headers.get("authorization") == "Bearer sk-two"

    wait_until(is_new, 10, "the new credential")


def test_a_bad_file_changes_nothing_and_says_why(make_weir, upstream):
    weir = make_weir(named(upstream))
    before = generation(weir)
    weir.write_config("providers:\n  up:\n    base_urll: http://127.0.0.1:1\n")
    weir.signal(signal.SIGHUP)
    wait_until(lambda: "weir.yaml:3:5" in weir.stderr(), what="the message")
    assert "base_url" in weir.stderr()
    assert generation(weir) == before
    assert weir.chat(CHAT).status == 200
    assert weir.metric("weir_config_reloads_total", result="failed") >= 1
    reload(weir, named(upstream, "new"))  # and it still listens to us
    assert weir.chat(CHAT | {"model": "new/m"}).status == 200


def test_a_request_keeps_the_config_it_began_with(make_weir, upstream):
    may_end = threading.Event()

    def slow(call):
        call.start_stream()
        call.write(sse.chunk("begun"))
        may_end.wait(20)
        call.write(sse.chunk(" and ended") + sse.chunk(finish="stop") + sse.DONE)
        call.end()

    upstream.handler = slow
    weir = make_weir(
        config({"up": provider(upstream)}, keys=[virtual_key("a", value="wk-first-0001")])
    )
    with weir.client() as client:
        body = b'{"model":"up/m","messages":[],"stream":true}'
        client.send(client.build("POST", "/v1/chat/completions", body, key="wk-first-0001"))
        head = client.head()
        # Provider and key go away while the stream runs.
        reload(weir, config({}, keys=[virtual_key("b", value="wk-second-0001")]))
        assert weir.chat(CHAT, key="wk-first-0001").status == 401
        may_end.set()
        got = b"".join(client.pieces(head))
    assert sse.text_of(got) == "begun and ended"


def test_keys_aliases_and_limits_follow(make_weir, upstream):
    def settings(key, target, limit):
        return config(
            {"up": provider(upstream)},
            keys=[virtual_key("k", value=key)],
            models={"fast": alias(target)},
            limits={"request_body": limit},
        )

    weir = make_weir(settings("wk-first-0001", "up/one", "1KiB"))
    fast = {"model": "fast", "messages": []}
    big = fast | {"pad": "x" * 2000}
    assert weir.chat(fast, key="wk-first-0001").headers.get("x-weir-target") == "up/one"
    assert weir.chat(big, key="wk-first-0001").status == 413
    with weir.client() as client:
        assert client.chat(fast, key="wk-first-0001").status == 200
        reload(weir, settings("wk-second-0001", "up/two", "1MiB"))
        # Also on a connection that was open before.
        assert client.chat(fast, key="wk-first-0001").status == 401
        got = client.chat(big, key="wk-second-0001")
        assert got.status == 200 and got.headers.get("x-weir-target") == "up/two"


def test_listeners_come_and_go(make_weir, upstream):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        extra = probe.getsockname()[1]
    weir = make_weir(config({"up": provider(upstream)}))
    port = weir.port
    both = config({"up": provider(upstream)}, listen=["127.0.0.1:0", f"127.0.0.1:{extra}"])
    reload(weir, both)
    with Client(extra) as client:
        assert client.chat(CHAT).status == 200
    with Client(port) as client:
        assert client.chat(CHAT).status == 200
    reload(weir, config({"up": provider(upstream)}))

    def is_refused():
        try:
            Client(extra).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused, what="the extra listener's end")
    with Client(port) as client:
        assert client.chat(CHAT).status == 200


def test_D33_no_request_fails_during_100_reloads_under_load(make_weir, upstream):
    upstream.handler = chat(["a", "b", "c"])
    weir = make_weir(named(upstream))
    is_over = threading.Event()
    failures, done = [], []

    def load(is_stream):
        body = {"model": "up/m", "messages": [], "stream": is_stream}
        with weir.client() as client:
            while not is_over.is_set():
                got = client.chat(body)
                done.append(1)
                if got.status != 200 or (is_stream and sse.text_of(got.body) != "abc"):
                    failures.append((got.status, got.body))
                    return

    threads = [threading.Thread(target=load, args=(i % 2 == 0,)) for i in range(6)]
    for thread in threads:
        thread.start()
    try:
        for i in range(100):
            reload(weir, config({"up": provider(upstream)}, models={f"a{i}": alias("up/m")}))
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30 * patience())
    assert failures == []
    assert len(done) > 100
    assert weir.metric("weir_config_reloads_total", result="ok") >= 100


def test_old_configs_do_not_pile_up(make_weir, upstream):
    """Snapshots that nobody uses are freed: descriptors and memory stay."""
    weir = make_weir(named(upstream))
    for _ in range(5):
        weir.chat(CHAT)
        reload(weir)
    fds = weir.fds()
    for _ in range(20):
        weir.chat(CHAT)
        reload(weir)
    wait_until(lambda: weir.fds() <= fds + 4, what="the closing of old connections")


def test_C24_many_providers_and_aliases_load(make_weir, upstream):
    providers = {f"p{i}": provider(upstream) for i in range(300)}
    aliases = {f"alias-{i}": alias(f"p{i % 300}/m{i}") for i in range(2000)}
    weir = make_weir(config(providers, models=aliases))
    upstream.handler = answer(b"{}")
    assert weir.chat({"model": "alias-1999", "messages": []}).status == 200
    assert upstream.only_request().json()["model"] == "m1999"
    reload(weir, config(providers, models=aliases | {"last": alias("p7/x")}))
    assert weir.chat({"model": "last", "messages": []}).headers.get("x-weir-target") == "p7/x"
