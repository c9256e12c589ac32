"""Signature Version 4 as botocore has it: each verifies what the other signs."""

import datetime
import pathlib
import random
import subprocess

import pytest

from conftest import SEED
from harness.weir import binary

botocore_auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

TOOL = pathlib.Path(binary()).parent / "tests" / "sigv4_tool"
NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)
NOW_S = int(NOW.timestamp())
KEY = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
TOKEN = "IQoJb3JpZ2luX2VjE//////////wEaCXVzLWVhc3QtMSJ="
HOST = "bedrock-runtime.eu-west-1.amazonaws.com"

# As they stand on the request line.
PATHS = [
    "/",
    "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
    "/model/anthropic.claude-3-haiku-20240307-v1:0/converse",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x-v1%3A0/invoke",
    "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fa1/converse-stream",
    "/a%20b/~c_d-e.f/%E1%88%B4/(x)/*/$&'/@,;=+!",
    "//double//slashes//",
    "/./dots/../here/",
    "/trailing/",
]
QUERIES = ["", "b=2&a=1&a=0", "empty=&none", "x=%2F%3A%20&%C3%A9=1", "Action=AssumeRole&Version=1"]


class Tool:
    def __init__(self):
        if not TOOL.is_file():
            pytest.skip("sigv4_tool is not built (scripts/build release tool-programs)")
        self.process = subprocess.Popen(
            [str(TOOL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, action, request, key=KEY, token="", scope=("bedrock", "eu-west-1"), now=NOW_S,
            more=()):
        method, path, query, headers, body = request
        lines = [
            f"do {action}", f"now {now}", f"key {key[0]} {key[1]} {token}".rstrip(),
            f"scope {scope[0]} {scope[1]}", f"method {method}", f"path {path}", f"query {query}",
            *(f"h {name}:{value}" for name, value in headers), f"body {body.hex()}", *more,
        ]
        self.process.stdin.write("\n".join(lines) + "\n\n")
        self.process.stdin.flush()
        answer = []
        while (line := self.process.stdout.readline()) not in ("\n", ""):
            answer.append(line.rstrip("\n"))
        return answer

    def sign(self, request, **how):
        return [tuple(line.split(": ", 1)) for line in self.ask("sign", request, **how)]

    def check(self, request, **how):
        return self.ask("check", request, **how)[0].split(":")[0]


@pytest.fixture(scope="module")
def tool():
    tool = Tool()
    yield tool
    tool.process.stdin.close()
    assert tool.process.wait(10) == 0


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    def now(remove_tzinfo=True):
        return NOW.replace(tzinfo=None) if remove_tzinfo else NOW

    monkeypatch.setattr(botocore_auth, "get_current_datetime", now)


def requests(count):
    choose = random.Random(int(SEED) if SEED.isdigit() else SEED)
    for path in PATHS:
        for query in QUERIES:
            yield make(choose, path, query)
    for _ in range(count):
        yield make(choose, choose.choice(PATHS), choose.choice(QUERIES))


def make(choose, path, query):
    headers = [("Content-Type", "application/json"), ("X-Amzn-Bedrock-Trace", " a   b ")]
    if choose.random() < 0.5:
        headers.append(("X-Amz-Target", "AmazonBedrock.Converse"))
    body = choose.choice([b"", b"{}", '{"é": "🌊"}'.encode(), choose.randbytes(3000)])
    return choose.choice(["GET", "POST", "PUT"]), path, query, headers, body


def by_botocore(request, key=KEY, token=None, scope=("bedrock", "eu-west-1")):
    """The headers that botocore sends."""
    method, path, query, headers, body = request
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    aws = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
    botocore_auth.SigV4Auth(Credentials(*key, token), *scope).add_auth(aws)
    return [("Host", HOST)] + list(aws.headers.items())


def test_signs_as_botocore_does(tool):
    for request in requests(50):
        for token in ("", TOKEN):
            theirs = dict(by_botocore(request, token=token or None))
            method, path, query, headers, body = request
            ours = dict(tool.sign((method, path, query, headers + [("Host", HOST)], body),
                                  token=token))
            assert ours["X-Amz-Date"] == theirs["X-Amz-Date"]
            assert ours.get("X-Amz-Security-Token") == theirs.get("X-Amz-Security-Token")
            assert ours["Authorization"] == theirs["Authorization"], request


def test_takes_what_botocore_signs(tool):
    for request in requests(50):
        method, path, query, headers, body = request
        signed = (method, path, query, by_botocore(request), body)
        assert tool.check(signed) == "OK", request


def test_takes_what_botocore_presigns(tool):
    for path in PATHS:
        aws = AWSRequest(method="GET", url=f"https://{HOST}{path}?b=2&a=%2F")
        botocore_auth.SigV4QueryAuth(
            Credentials(*KEY, TOKEN), "bedrock", "eu-west-1", expires=60
        ).add_auth(aws)
        query = aws.url.split("?", 1)[1]
        request = ("GET", path, query, [("Host", HOST)], b"")
        assert tool.check(request) == "OK", aws.url
        assert tool.check(request, now=NOW_S + 61) == "EXPIRED"
        assert tool.check(("GET", path, query + "&c=3", [("Host", HOST)], b"")) == "BAD_SIGNATURE"


def test_refuses_what_was_altered(tool):
    request = ("POST", PATHS[1], "", [("Content-Type", "application/json")], b'{"messages":[]}')
    method, path, query, _, body = request
    headers = by_botocore(request)
    assert tool.check((method, path, query, headers, body)) == "OK"
    assert tool.check((method, path, query, headers, body + b" ")) == "BAD_SIGNATURE"
    assert tool.check((method, path + "-stream", query, headers, body)) == "BAD_SIGNATURE"
    assert tool.check((method, path, "a=1", headers, body)) == "BAD_SIGNATURE"
    assert tool.check(("PUT", path, query, headers, body)) == "BAD_SIGNATURE"
    altered = [(n, "text/plain" if n == "Content-Type" else v) for n, v in headers]
    assert tool.check((method, path, query, altered, body)) == "BAD_SIGNATURE"
    assert tool.check((method, path, query, headers[1:], body)) == "MALFORMED"
    whole = (method, path, query, headers, body)
    assert tool.check(whole, key=(KEY[0], "other")) == "BAD_SIGNATURE"
    assert tool.check(whole, key=("AKIAOTHER", KEY[1])) == "UNKNOWN_KEY"
    assert tool.check(whole, now=NOW_S + 301) == "SKEW"
    assert tool.check(whole, now=NOW_S - 301) == "SKEW"
    hashed = (method, path, query, headers + [("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")], body)
    assert tool.check(hashed) == "MALFORMED"  # sent, but not signed
