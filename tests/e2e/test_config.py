"""What weir says about a config file, and that it starts with none that it does not understand."""

import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from harness.weir import ROOT, config, provider, run

pytestmark = pytest.mark.http1("no requests")

GOOD = """\
listen:
  - 127.0.0.1:0
  - address: "[::1]:0"
threads: 2
auth: keys
keys:
  - name: team
    hash: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    models: [fast, "openai/*"]
    expires: 2099-01-31
providers:
  openai:
    api_key: ${MY_KEY:-none-yet}
  local:
    base_url: http://127.0.0.1:11434/v1
    auth: {kind: none}
    headers: {X-Team: "a$$b"}
    models: [llama]
models:
  fast: openai/gpt-4o-mini
  slow: {target: local/llama}
limits:
  request_body: 8MiB
timeouts:
  heartbeat: 10s
  total: 90m
pool:
  idle_timeout: 30s
log:
  access: "off"
  level: warn
metrics:
  max_series: 500
"""


def check(tmp_path, text, env=None):
    path = tmp_path / "weir.yaml"
    path.write_text(text)
    return run("check", str(path), env=env)


def test_a_good_file_passes(tmp_path):
    done = check(tmp_path, GOOD)
    assert done.returncode == 0, done.stdout + done.stderr


BAD = {
    "unknown key": ("provders:\n  openai:\n    api_key: x\n", 1, 1, ["provders", "providers"]),
    "unknown key inside": (
        "providers:\n  openai:\n    api_key: x\n    basurl: http://x\n", 4, 5,
        ["basurl", "base_url"]),
    "unknown timeout": ("timeouts:\n  heartbeet: 5s\n", 2, 3, ["heartbeet", "heartbeat"]),
    "wrong type": ("threads: many\n", 1, 10, ["threads"]),
    "out of bounds": ("threads: 100000\n", 1, 10, ["threads", "512"]),
    "a duration without unit": ("timeouts:\n  total: 90\n", 2, 10, ["total"]),
    "a size that is none": ("limits:\n  request_body: lots\n", 2, 17, ["request_body"]),
    "not one of": ("auth: maybe\n", 1, 7, ["auth", "keys", "none"]),
    "a list where a mapping belongs": ("providers: [openai]\n", 1, 12, ["providers"]),
    "duplicate key": ("threads: 1\nlisten: ['127.0.0.1:0']\nthreads: 2\n", 3, 1, ["threads"]),
    "duplicate provider": (
        "providers:\n  a:\n    base_url: http://127.0.0.1:1\n  a:\n    base_url: http://x.y\n",
        4, 3, ["a"]),
    "missing variable": (
        "providers:\n  openai:\n    api_key: ${WEIR_TEST_NOT_SET}\n", 3, 14,
        ["WEIR_TEST_NOT_SET"]),
    "missing file": (
        "providers:\n  openai:\n    api_key: {file: no/such/file}\n", 3, 21, ["no/such/file"]),
    "unclosed variable": ("providers:\n  openai:\n    api_key: ${OOPS\n", 3, 14, ["${"]),
    "no such provider": ("models:\n  fast: opnai/gpt\nproviders:\n  openai: {api_key: x}\n",
                         2, 3, ["opnai", "openai"]),
    "alias of nothing": ("models:\n  fast: gpt\n", 2, 3, ["provider/model"]),
    "unknown provider without url": ("providers:\n  mistrall:\n    api_key: x\n", 2, 3,
                                     ["mistrall", "mistral"]),
    "bad url": ("providers:\n  x:\n    base_url: ftp://host\n", 3, 15, ["http"]),
    "url with a password": ("providers:\n  x:\n    base_url: http://u:p@host\n", 3, 15, []),
    "header with a line end": (
        'providers:\n  x:\n    base_url: http://h\n    headers: {A: "b\\r\\nC: d"}\n', 4, 18, []),
    "bad address": ("listen: ['localhost:http']\n", 1, 10, ["listen"]),
    "key without secret": ("keys:\n  - name: a\n", 2, 5, ["hash", "value"]),
    "key with both": ("keys:\n  - {name: a, value: 12345678, hash: sha256:00}\n", 2, None, []),
    "short key": ("keys:\n  - {name: a, value: short}\n", 2, 22, ["8"]),
    "key twice": (
        "keys:\n  - {name: a, value: aaaaaaaa}\n  - {name: a, value: bbbbbbbb}\n", 3, 5, ["a"]),
    "yaml that is none": ("listen: [\n", None, None, []),
    "a tab": ("providers:\n\topenai: x\n", 2, None, []),
    "not a mapping": ("- a\n", 1, 1, []),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_shown_where_it_is_and_weir_does_not_start(tmp_path, name):
    text, line, column, words = BAD[name]
    done = check(tmp_path, text)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    place = re.search(r"weir\.yaml:(\d+):(\d+): ", said)
    assert place, said
    if line is not None:
        assert int(place[1]) == line, said
    if column is not None:
        assert int(place[2]) == column, said
    for word in words:
        assert word in said, said
    refused = run("run", "--config", str(tmp_path / "weir.yaml"), "--print-port")
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert place[0] in refused.stderr


def test_all_mistakes_are_shown_at_once(tmp_path):
    done = check(tmp_path, "thread: 1\nauth: x\nlimits:\n  json_depth: -1\n")
    said = done.stdout + done.stderr
    for place in ("weir.yaml:1:1:", "weir.yaml:2:7:", "weir.yaml:4:15:"):
        assert place in said


def test_secrets_are_not_shown_in_messages(tmp_path):
    text = "keys:\n  - {name: a, value: hush}\nproviders:\n  x: {base_url: 'http://u:hush@h'}\n"
    done = check(tmp_path, text)
    assert done.returncode != 0 and "hush" not in done.stdout + done.stderr


def test_a_file_that_is_not_there(tmp_path):
    for command in (["check"], ["run", "--config"]):
        done = run(*command, str(tmp_path / "absent.yaml"))
        assert done.returncode != 0 and "absent.yaml" in done.stdout + done.stderr


def test_variables_defaults_dollars_and_files(make_weir, upstream, tmp_path):
    secret = tmp_path / "upstream.key"
    secret.write_text("sk-from-a-file\n")
    secret.chmod(0o600)
    weir = make_weir(
        config(
            {
                "a": provider("http://127.0.0.1:${PORT}/v1", api_key={"file": str(secret)}),
                "b": provider(upstream, api_key="${KEY_B}"),
                "c": provider(upstream, api_key="${NOT_SET:-sk-default}"),
                "d": provider(upstream, api_key="pa$$word$${X}"),
                "e": provider(upstream, api_key="${EMPTY:-sk-empty}"),
            }
        ),
        env={"PORT": str(upstream.port), "KEY_B": "sk-env$HOME${A}", "EMPTY": ""},
    )
    got = {}
    for name in "abcde":
        upstream.clear()
        assert weir.chat({"model": f"{name}/m", "messages": []}).status == 200
        got[name] = upstream.only_request().headers.get("authorization")
    assert got == {
        "a": "Bearer sk-from-a-file",
        "b": "Bearer sk-env$HOME${A}",  # what a variable holds is not looked through again
        "c": "Bearer sk-default",
        "d": "Bearer pa$word${X}",
        "e": "Bearer sk-empty",
    }


def test_the_ways_a_credential_travels(make_weir, upstream):
    weir = make_weir(
        config(
            {
                "header": provider(upstream, auth={"kind": "header", "name": "x-goog-api-key"}),
                "query": provider(upstream, auth={"kind": "query", "name": "key"}),
                "none": {"base_url": f"{upstream.url}/v1", "auth": {"kind": "none"}},
                "extra": provider(upstream, headers={"X-Team": "blue"}),
            }
        )
    )

    def ask(name):
        upstream.clear()
        assert weir.chat({"model": f"{name}/m", "messages": []}).status == 200
        return upstream.only_request()

    request = ask("header")
    assert request.headers.get("x-goog-api-key") == "sk-upstream-secret"
    assert "authorization" not in request.headers
    assert ask("query").target == "/v1/chat/completions?key=sk-upstream-secret"
    assert "authorization" not in ask("none").headers
    request = ask("extra")
    assert request.headers.get("x-team") == "blue"
    assert request.headers.get("authorization") == "Bearer sk-upstream-secret"


def test_a_provider_can_be_switched_off(make_weir, upstream):
    rows = {"up": provider(upstream), "off": provider(upstream, enabled=False)}
    weir = make_weir(config(rows | {"b": provider(upstream), "sim": {"enabled": False}}))
    assert weir.chat({"model": "up/m", "messages": []}).status == 200
    for name in ("sim/echo", "off/m"):
        assert weir.chat({"model": name, "messages": []}).status == 404


# --- schema and reference ---


def schema():
    done = run("config", "schema")
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_the_schema_is_one_and_agrees_with_weir(tmp_path):
    validator = Draft202012Validator(schema())
    Draft202012Validator.check_schema(validator.schema)
    assert [e.message for e in validator.iter_errors(yaml.safe_load(GOOD))] == []
    assert validator.is_valid(config({"up": provider("http://127.0.0.1:1/v1")}))


@pytest.mark.parametrize(
    "name",
    ["unknown key", "unknown key inside", "unknown timeout", "wrong type", "out of bounds",
     "a duration without unit", "not one of", "a list where a mapping belongs", "not a mapping"],
)  # fmt: skip
def test_the_schema_refuses_what_weir_refuses(name):
    assert not Draft202012Validator(schema()).is_valid(yaml.safe_load(BAD[name][0]))


def test_the_reference_names_every_key_of_the_schema():
    done = run("config", "reference")
    assert done.returncode == 0

    def names(node):
        for name, value in (node.get("properties") or {}).items():
            yield name
            yield from names(value)
        for part in ("items", "additionalProperties"):
            if isinstance(node.get(part), dict):
                yield from names(node[part])
        for part in ("anyOf", "oneOf"):
            for choice in node.get(part) or []:
                yield from names(choice)

    whole = schema()
    found = set(names(whole))
    for definition in (whole.get("$defs") or {}).values():
        found |= set(names(definition))
    assert len(found) > 40
    missing = [name for name in found if f"`{name}`" not in done.stdout and name not in done.stdout]
    assert missing == []


def test_the_reference_in_the_documents_is_the_current_one():
    path = ROOT / "docs" / "reference" / "config.md"
    if not path.is_file():
        pytest.skip("docs/reference/config.md is not in this tree")
    assert path.read_text(encoding="utf-8") == run("config", "reference").stdout
