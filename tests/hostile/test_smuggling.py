"""Requests that two parties could read differently: refused, and the connection ends.

Each case is sent behind a request that is fine, on the same connection, followed by a request that
would be smuggled if the gateway took the case's framing at face value.

The table keeps one case a line, however long: cases are compared by eye.
"""

import pytest

from harness.weir import config, provider

PATH = b"/v1/chat/completions"
BODY = b'{"model":"up/m","messages":[]}'
SMUGGLED = (
    b"POST "
    + PATH
    + b' HTTP/1.1\r\nHost: x\r\nContent-Length: 38\r\n\r\n{"model":"up/smuggled","messages":[1]}'
)


def post(*lines, body=BODY, version=b"HTTP/1.1", host=b"Host: x\r\n", target=PATH):
    return (b"POST " + target + b" " + version + b"\r\n" + host
            + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body)  # fmt: skip


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

CASES = {
    # name: (bytes, statuses that are right)
    "CL and TE": (post(LENGTH, CHUNKED, body=CHUNKS), {400}),
    "TE and CL": (post(CHUNKED, LENGTH, body=CHUNKS), {400}),
    "CL.0 and TE": (post(b"Content-Length: 0", CHUNKED, body=CHUNKS), {400}),
    "TE twice": (post(CHUNKED, CHUNKED, body=CHUNKS), {400}),
    "TE chunked, identity": (post(b"Transfer-Encoding: chunked, identity", body=CHUNKS), {400, 501}),
    "TE identity": (post(b"Transfer-Encoding: identity", LENGTH), {400, 501}),
    "TE gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), {400, 501}),
    "TE gzip": (post(b"Transfer-Encoding: gzip"), {400, 501}),
    "TE xchunked": (post(b"Transfer-Encoding: xchunked", body=CHUNKS), {400, 501}),
    "TE chunkedx": (post(b"Transfer-Encoding: chunkedx", body=CHUNKS), {400, 501}),
    "TE chunked;q=1": (post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS), {400, 501}),
    "TE 'chunked'": (post(b"Transfer-Encoding: 'chunked'", body=CHUNKS), {400, 501}),
    "TE empty": (post(b"Transfer-Encoding:", LENGTH), {400, 501}),
    "TE with NUL": (post(b"Transfer-Encoding: chunked\0", body=CHUNKS), {400}),
    "TE with tab": (post(b"Transfer-Encoding:\x0bchunked", body=CHUNKS), {400, 501}),
    "TE on 1.0": (post(CHUNKED, body=CHUNKS, version=b"HTTP/1.0"), {400}),
    "TE and 'Transfer_Encoding'": (post(LENGTH, b"Transfer_Encoding: chunked", CHUNKED), {400}),
    "CL twice, equal": (post(LENGTH, LENGTH), {400}),
    "CL twice, different": (post(LENGTH, b"Content-Length: 0"), {400}),
    "CL list": (post(b"Content-Length: 30, 30"), {400}),
    "CL plus": (post(b"Content-Length: +30"), {400}),
    "CL minus": (post(b"Content-Length: -30"), {400}),
    "CL hex": (post(b"Content-Length: 0x1e"), {400}),
    "CL float": (post(b"Content-Length: 30.0"), {400}),
    "CL space inside": (post(b"Content-Length: 3 0"), {400}),
    "CL empty": (post(b"Content-Length:"), {400}),
    "CL overflow": (post(b"Content-Length: 18446744073709551646"), {400, 413}),
    "CL huge": (post(b"Content-Length: " + b"9" * 40), {400, 413}),
    "space before colon": (post(b"Content-Length : %d" % len(BODY)), {400}),
    "tab before colon": (post(b"Transfer-Encoding\t: chunked", body=CHUNKS), {400}),
    "space before name": (post(b" X: 1", LENGTH), {400}),
    "obs-fold": (post(b"X-A: 1\r\n folded", LENGTH), {400}),
    "folded TE": (post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS), {400}),
    "line without colon": (post(b"nonsense", LENGTH), {400}),
    "empty name": (post(b": value", LENGTH), {400}),
    "name with a control character": (post(b"X\x01: 1", LENGTH), {400}),
    "value with NUL": (post(b"X: a\0b", LENGTH), {400}),
    "value with bare CR": (post(b"X: a\rContent-Length: 0", LENGTH), {400}),
    "bare LF after header": (b"POST " + PATH + b" HTTP/1.1\r\nHost: x\n" + LENGTH + b"\r\n\r\n" + BODY, {400}),
    "bare LF everywhere": (b"POST " + PATH + b" HTTP/1.1\nHost: x\n" + LENGTH + b"\n\n" + BODY, {400}),
    "bare LF before the body": (b"POST " + PATH + b" HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n\n" + BODY, {400}),
    "no Host": (post(LENGTH, host=b""), {400}),
    "two Hosts": (post(LENGTH, host=b"Host: x\r\nHost: y\r\n"), {400}),
    "two equal Hosts": (post(LENGTH, host=b"Host: x\r\nHost: x\r\n"), {400}),
    "bad Host": (post(LENGTH, host=b"Host: a b\r\n"), {400}),
    "Host with a path": (post(LENGTH, host=b"Host: x/y\r\n"), {400}),
    "another Host than the target's": (post(LENGTH, target=b"http://other/v1/chat/completions"), {400}),
    "HTTP/0.9": (b"GET /healthz\r\n", {400, 505}),
    "HTTP/2.0": (post(LENGTH, version=b"HTTP/2.0"), {400, 505}),
    "HTTP/1.2": (post(LENGTH, version=b"HTTP/1.2"), {400, 505}),
    "http/1.1": (post(LENGTH, version=b"http/1.1"), {400}),
    "version HTTP/1.1x": (post(LENGTH, version=b"HTTP/1.1x"), {400, 505}),
    "two spaces in the request line": (b"POST  " + PATH + b" HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "space in the target": (post(LENGTH, target=PATH + b" x"), {400}),
    "control character in the target": (post(LENGTH, target=PATH + b"\x01"), {400}),
    "target with NUL": (post(LENGTH, target=PATH + b"\0"), {400}),
    "target without slash": (post(LENGTH, target=b"v1/chat/completions"), {400, 404}),
    "CONNECT": (b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n", {400, 404, 405, 501}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {400}),
    "lower-case method": (b"post " + PATH + b" HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n\r\n" + BODY, {400, 405, 501}),
    "chunk size empty": (post(CHUNKED, body=b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk size 0x": (post(CHUNKED, body=b"0x1e\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk size minus": (post(CHUNKED, body=b"-1\r\n\r\n"), {400}),
    "chunk size with space": (post(CHUNKED, body=b"1e \r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk size with leading space": (post(CHUNKED, body=b" 1e\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk size overflow": (post(CHUNKED, body=b"1000000000000001e\r\n" + BODY + b"\r\n"), {400, 413}),
    "chunk size not hex": (post(CHUNKED, body=b"1g\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk longer than its size": (post(CHUNKED, body=b"5\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk ends with LF": (post(CHUNKED, body=b"1e\r\n" + BODY + b"\n0\r\n\r\n"), {400}),
    "chunk size ends with LF": (post(CHUNKED, body=b"1e\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk extension with LF": (post(CHUNKED, body=b"1e;a=\nb\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk extension with CR": (post(CHUNKED, body=b"1e;a=\rb\r\n" + BODY + b"\r\n0\r\n\r\n"), {400}),
    "chunk extensions over the limit": (post(CHUNKED, body=b"1e;" + b"e" * 5000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), {400, 413, 431}),
    "many small chunk extensions": (post(CHUNKED, body=b"".join(b"1;eeeeeeee\r\n%c\r\n" % c for c in b" " * 500) + CHUNKS), {400, 413, 431}),
    "trailers over the limit": (post(CHUNKED, body=CHUNKS[:-2] + b"X: " + b"t" * 20000 + b"\r\n\r\n"), {400, 431}),
    "bad trailer": (post(CHUNKED, body=CHUNKS[:-2] + b"bad trailer\r\n\r\n"), {400}),
    "headers over the limit": (post(LENGTH, b"X: " + b"h" * 100000), {431}),
    "too many headers": (post(LENGTH, *[b"X-%d: 1" % i for i in range(500)]), {431}),
    "endless header name": (post(LENGTH, b"N" * 100000 + b": 1"), {431}),
    "target over the limit": (post(LENGTH, target=PATH + b"?" + b"q" * 30000), {414, 431}),
    "random bytes": (bytes(range(256)) * 4, {400}),
}  # fmt: skip


@pytest.fixture(scope="module")
def target(make_shared_upstream):
    return make_shared_upstream()


@pytest.fixture(scope="module")
def gateway(make_shared_weir, target):
    return make_shared_weir(config({"up": provider(target)}))


@pytest.mark.parametrize("name", CASES)
def test_an_ambiguous_request_is_refused_and_nothing_of_it_goes_up(gateway, target, name):
    wire, statuses = CASES[name]
    target.clear()
    with gateway.client() as client:
        client.send(post(LENGTH))
        assert client.response().status == 200
        assert len(target.requests) == 1
        try:
            client.send(wire + SMUGGLED)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had seen enough
        client.deadline()
        got = client.response()
        assert got.status in statuses, got
        assert got.headers.get("connection") == "close"
        assert got.headers.get("content-type") == "application/json"
        assert got.error["message"]
        assert client.is_closed(), "the connection stayed open after a framing error"
    assert len(target.requests) == 1, [r.raw_head + r.body for r in target.requests[1:]]
    # And weir lives.
    assert gateway.get("/healthz").status == 200


def test_the_answer_to_a_bad_request_reaches_a_client_that_still_sends(gateway):
    """No reset that eats the answer: what the client sends on is drained for a while."""
    with gateway.client() as client:
        client.send(b"POST " + PATH + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        try:
            for _ in range(50):
                client.send(b"x" * 10000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.response().status == 400


@pytest.mark.parametrize(
    "header", [b"Content-Length: 5", b"X-Api-Key: 1", b"Authorization: Bearer x"]
)
def test_header_names_with_underscores_or_odd_case_are_not_taken_for_others(
    gateway, target, header
):
    target.clear()
    odd = header.replace(b"-", b"_", 1)
    with gateway.client() as client:
        client.send(post(LENGTH, odd))
        assert client.response().status == 200
    assert odd.lower() not in target.requests[0].raw_head.lower()


def test_bad_requests_are_counted(gateway):
    before = gateway.metric("weir_http_bad_requests_total")
    with gateway.client() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.response().status == 400
    with gateway.client() as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.is_closed()
    assert gateway.metric("weir_http_bad_requests_total") == before + 2
