"""gRPC through weir: grpcio and Triton's client on one side, grpcio's server on the other."""

import concurrent.futures
import threading
import time

import grpc
import pytest

from harness.certs import Authority
from harness.h2client import H2Client
from harness.weir import config, patience, virtual_key, wait_until

pytestmark = pytest.mark.http1("HTTP/2 already")

SERVICE = "test.Echo"
GENERAL = "/test.Echo/"


class Echo(grpc.GenericRpcHandler):
    """Four shapes of calls, in bytes; what it saw is kept."""

    def __init__(self):
        self.metadata = []
        self.cancelled = threading.Event()
        self.time_left = []

    def service(self, details):
        self.metadata.append(dict(details.invocation_metadata))
        name = details.method.rpartition("/")[2]
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "Greet": grpc.stream_stream_rpc_method_handler(self.greet),
        }.get(name)

    def unary(self, request, context):
        self.time_left.append(context.time_remaining())
        context.send_initial_metadata((("from-server", "a"), ("blob-bin", b"\x00\xff")))
        context.set_trailing_metadata((("after", "z"), ("after-bin", b"\x01\xfe")))
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("why-bin", b"\x07"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nicht möglich: 100%")

    def fail_late(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    def slow(self, request, context):
        context.add_callback(self.cancelled.set)
        self.time_left.append(context.time_remaining())
        self.cancelled.wait(30)
        return b""

    def count(self, request, context):
        context.add_callback(self.cancelled.set)
        for i in range(int(request)):
            yield b"%d" % i

    def join(self, requests, context):
        return b",".join(requests)

    def talk(self, requests, context):
        for request in requests:
            yield request.upper()

    def greet(self, requests, context):
        yield b"hello"
        for request in requests:
            yield request


def serve(handlers, credentials=None):
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(32),
        handlers=handlers,
        options=[("grpc.max_receive_message_length", -1)],
    )
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


@pytest.fixture
def echo():
    handler = Echo()
    server, handler.port = serve([handler])
    yield handler
    server.stop(0)


def row(port, services=(SERVICE,), **more):
    return {"base_url": f"http://127.0.0.1:{port}", "grpc": {"services": list(services)}} | more


@pytest.fixture
def gateway(make_weir, echo):
    return make_weir(config({"echo": row(echo.port)}))


@pytest.fixture
def channel(gateway):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as made:
        yield made


def unary(channel, name, request=b"x", timeout=None, **more):
    call = channel.unary_unary(GENERAL + name)
    return call(request, timeout=timeout or 20 * patience(), **more)


def failure(call, *args, **more):
    with pytest.raises(grpc.RpcError) as caught:
        result = call(*args, **more)
        list(result)
    return caught.value


def test_a_call_and_its_answer(channel, gateway):
    assert unary(channel, "Unary", b"payload") == b"payload"
    assert unary(channel, "Unary", b"") == b""
    [entry, _] = gateway.log_entries(2, operation="grpc")
    assert entry["grpc_method"] == "test.Echo/Unary" and entry["grpc_status"] == "OK"
    assert (entry["messages_in"], entry["messages_out"]) == (1, 1)
    assert (entry["bytes_in"], entry["bytes_out"]) == (12, 12)
    assert entry["provider"] == "echo" and entry["outcome"] == "ok" and entry["ttft_ms"] > 0
    assert gateway.metric("weir_grpc_messages_total", direction="in") == 2
    assert gateway.metric("weir_requests_total", operation="grpc", provider="echo") == 2


def test_metadata_both_ways_text_and_binary(channel, echo):
    call = channel.unary_unary(GENERAL + "Unary").with_call
    sent = (("x-text", "plain"), ("x-blob-bin", bytes(range(256))))
    answer, done = call(b"x", metadata=sent, timeout=20 * patience())
    assert answer == b"x" and done.code() == grpc.StatusCode.OK
    got = echo.metadata[0]
    assert got["x-text"] == "plain" and got["x-blob-bin"] == bytes(range(256))
    assert dict(done.initial_metadata())["from-server"] == "a"
    assert dict(done.initial_metadata())["blob-bin"] == b"\x00\xff"
    assert dict(done.trailing_metadata()) == {"after": "z", "after-bin": b"\x01\xfe"}
    assert "x-weir-request-id" in dict(done.initial_metadata())


def test_large_messages(channel):
    body = bytes(range(256)) * 8192  # 2 MiB
    assert unary(channel, "Unary", body) == body


def test_streams_of_all_shapes(channel):
    wait = {"timeout": 30 * patience()}
    count = channel.unary_stream(GENERAL + "Count")
    assert list(count(b"500", **wait)) == [b"%d" % i for i in range(500)]
    join = channel.stream_unary(GENERAL + "Join")
    assert join(iter([b"a", b"b", b"c"]), **wait) == b"a,b,c"
    big = [b"x" * 100_000] * 30
    assert join(iter(big), **wait) == b",".join(big)
    assert join(iter([]), **wait) == b""
    talk = channel.stream_stream(GENERAL + "Talk")
    assert list(talk(iter([b"a", b"b"]), **wait)) == [b"A", b"B"]


def test_a_conversation_is_not_held_up(channel):
    """Each message goes on at once, in both directions; the server may speak first."""
    for name, first in (("Talk", None), ("Greet", b"hello")):
        gate, waiting = threading.Semaphore(0), []

        def requests():
            while gate.acquire(timeout=30 * patience()) and waiting:
                yield waiting.pop()

        answers = channel.stream_stream(GENERAL + name)(requests(), timeout=60 * patience())
        if first is not None:
            assert next(answers) == first
        for word in (b"one", b"two", b"three"):
            waiting.append(word)
            gate.release()
            assert next(answers).lower() == word
        gate.release()
        assert list(answers) == []


def test_errors_of_the_server_arrive_as_they_are(channel, gateway):
    error = failure(unary, channel, "Fail")
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "nicht möglich: 100%"
    assert dict(error.trailing_metadata())["why-bin"] == b"\x07"
    answers = channel.unary_stream(GENERAL + "FailLate")(b"", timeout=20 * patience())
    assert next(answers) == b"one"
    error = failure(lambda: answers)
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "gone")
    assert failure(unary, channel, "Nothing").code() == grpc.StatusCode.UNIMPLEMENTED
    gateway.log_entries(1, grpc_status="FAILED_PRECONDITION", outcome="client_error")
    gateway.log_entries(1, grpc_status="DATA_LOSS", outcome="upstream_error")


def test_deadlines_go_along_and_are_kept(channel, echo, gateway):
    unary(channel, "Unary", timeout=1000)
    assert 900 < echo.time_left[0] <= 1001
    error = failure(unary, channel, "Slow", timeout=0.5)
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.cancelled.wait(20 * patience())
    wait_until(lambda: gateway.log_entries(grpc_method="test.Echo/Slow"), 20 * patience())


def test_a_deadline_is_told_by_weir_too(make_weir, echo):
    weir = make_weir(config({"echo": row(echo.port)}))
    with H2Client(weir.port) as client:
        fields = (("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "200m"))
        answer = client.answer(client.post("/test.Echo/Slow", b"\0\0\0\0\0", fields))
    assert answer.headers.get("grpc-status") == "4" and answer.status == 200
    assert echo.cancelled.wait(20 * patience())


def test_a_cancelled_call_is_cancelled_upstream(channel, echo, gateway):
    call = channel.unary_unary(GENERAL + "Slow").future(b"x", timeout=60 * patience())
    wait_until(lambda: echo.time_left, 20 * patience())
    call.cancel()
    assert echo.cancelled.wait(20 * patience())
    gateway.log_entries(1, seconds=20 * patience(), grpc_status="CANCELLED", outcome="client_gone")


def test_what_weir_refuses_is_a_status(make_weir, echo):
    keys = [virtual_key("team", "sk-team-0123456789abcdef"),
            virtual_key("other", "sk-other-0123456789abcdef", models=["gpt-*"])]  # fmt: skip
    weir = make_weir(config({"echo": row(echo.port, api_key="upstream-secret")}, keys=keys))
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        error = failure(unary, channel, "Unary")
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED and "API key" in error.details()
        wrong = (("authorization", "Bearer wrong"),)
        assert failure(unary, channel, "Unary", metadata=wrong).code() == (
            grpc.StatusCode.UNAUTHENTICATED)  # fmt: skip
        other = (("authorization", "Bearer sk-other-0123456789abcdef"),)
        assert failure(unary, channel, "Unary", metadata=other).code() == (
            grpc.StatusCode.PERMISSION_DENIED)  # fmt: skip
        assert echo.metadata == []
        team = (("authorization", "Bearer sk-team-0123456789abcdef"),)
        assert unary(channel, "Unary", metadata=team) == b"x"
        assert echo.metadata[0]["authorization"] == "Bearer upstream-secret"
        stranger = channel.unary_unary("/test.Stranger/Unary")
        error = failure(stranger, b"", metadata=team, timeout=20 * patience())
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "test.Stranger" in error.details()


def test_a_provider_that_is_away(make_weir, echo):
    """The next of the same name is asked; with none left the call is UNAVAILABLE, then the breaker
    knows."""
    away = row(1)
    weir = make_weir(config({"away": away, "echo": row(echo.port)}))
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        assert unary(channel, "Unary") == b"x"
        assert weir.log_entries(1, operation="grpc")[0]["attempts"] == 2
    routing = {"retries": 0, "mid_stream": "terminate", "breaker": {"failures": 2, "open": "60s"}}
    weir = make_weir(config({"away": away}, routing=routing))
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        for _ in range(3):
            assert failure(unary, channel, "Unary").code() == grpc.StatusCode.UNAVAILABLE
    weir.log_entries(1, error="no_target_available")


def test_names_patterns_and_authorities(make_weir):
    handlers = [Echo() for _ in range(4)]
    servers = [serve([handler]) for handler in handlers]
    (_, exact), (_, pattern), (_, default), (_, named) = servers
    weir = make_weir(config({
        "default": row(default, ["*"]),
        "pattern": row(pattern, ["test.*"]),
        "exact": row(exact, ["test.Echo"]),
        "named": row(named, grpc={"authorities": ["triton.example"]}),
    }))  # fmt: skip
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        for service in ("test.Echo", "test.Other", "else.Where"):
            assert channel.unary_unary(f"/{service}/Unary")(b"", timeout=20 * patience()) == b""
    with grpc.insecure_channel(
        f"127.0.0.1:{weir.port}", options=[("grpc.default_authority", "triton.example")]
    ) as channel:
        assert channel.unary_unary("/a.Service/Unary")(b"", timeout=20 * patience()) == b""
    assert [len(h.metadata) for h in handlers] == [1, 1, 1, 1]
    providers = [e["provider"] for e in weir.log_entries(4, operation="grpc")]
    assert sorted(providers) == ["default", "exact", "named", "pattern"]  # of two threads
    for server, _ in servers:
        server.stop(0)


def test_over_tls_on_both_sides(make_weir, tmp_path):
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue("both", "IP:127.0.0.1")
    pair = [(open(key, "rb").read(), open(cert, "rb").read())]
    server, port = serve([Echo()], grpc.ssl_server_credentials(pair))
    listen = [{"address": "127.0.0.1:0", "tls": {"cert_file": cert, "key_file": key}}]
    provider = row(port, base_url=f"https://127.0.0.1:{port}", tls={"ca_file": str(authority.cert)})
    weir = make_weir(config({"echo": provider}, listen=listen), ready=False)
    trust = grpc.ssl_channel_credentials(authority.cert.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{weir.port}", trust) as channel:
        assert unary(channel, "Unary", wait_for_ready=True) == b"x"
        talk = channel.stream_stream(GENERAL + "Talk")
        assert list(talk(iter([b"a"]), timeout=20 * patience())) == [b"A"]
    server.stop(0)


def test_a_shutdown_lets_calls_end(make_weir, echo):
    weir = make_weir(config({"echo": row(echo.port)}))
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        gate = threading.Event()

        def requests():
            yield b"a"
            gate.wait(30 * patience())
            yield b"b"

        answers = channel.stream_stream(GENERAL + "Talk")(requests(), timeout=60 * patience())
        assert next(answers) == b"A"
        weir.signal(15)
        time.sleep(0.1)  # the signal is on its way; nothing depends on how far
        gate.set()
        assert list(answers) == [b"B"]
    assert weir.wait_exit(30 * patience()) == 0


# --- services that weir knows ---


@pytest.fixture
def triton():
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Server(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelInfer(self, request, context):
            return self.answer(request)

        def ModelStreamInfer(self, requests, context):
            for request in requests:
                for _ in range(3):
                    yield service_pb2.ModelStreamInferResponse(infer_response=self.answer(request))

        def answer(self, request):
            answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
            tensor = answer.outputs.add(name="OUT", datatype="INT32")
            tensor.shape.extend(request.inputs[0].shape)
            answer.raw_output_contents.append(request.raw_input_contents[0])
            return answer

        def ModelReady(self, request, context):
            return service_pb2.ModelReadyResponse(ready=request.name == "llama")

    made = []

    def make():
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Server(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        made.append(server)
        return port

    yield make
    for server in made:
        server.stop(0)


def test_tritons_client_and_the_model_that_it_names(make_weir, triton):
    import numpy
    import tritonclient.grpc as client

    services = ["inference.GRPCInferenceService"]
    keys = [virtual_key("team", "sk-team-0123456789abcdef", models=["llama", "bert"])]
    weir = make_weir(config({
        "one": row(triton(), services, models=["llama"]),
        "two": row(triton(), services, models=["bert", "gpt"]),
    }, keys=keys))  # fmt: skip
    headers = {"authorization": "Bearer sk-team-0123456789abcdef"}
    with client.InferenceServerClient(f"127.0.0.1:{weir.port}") as triton_client:
        data = numpy.arange(8, dtype=numpy.int32)
        tensor = client.InferInput("IN", data.shape, "INT32")
        tensor.set_data_from_numpy(data)
        for model in ("llama", "bert"):
            said = triton_client.infer(model, [tensor], headers=headers)
            assert (said.as_numpy("OUT") == data).all()
            assert said.get_response().model_name == model
        assert triton_client.is_model_ready("llama", headers=headers)
        with pytest.raises(client.InferenceServerException) as caught:
            triton_client.infer("gpt", [tensor], headers=headers)
        assert "PERMISSION_DENIED" in str(caught.value.status())
        with pytest.raises(client.InferenceServerException) as caught:
            triton_client.infer("nobody", [tensor], headers=headers)
        assert "UNIMPLEMENTED" in str(caught.value.status())
        answers, done = [], threading.Semaphore(0)

        def note(result, error):
            answers.append(error or result.get_response().model_name)
            done.release()

        triton_client.start_stream(note, headers=headers)
        for _ in range(2):
            triton_client.async_stream_infer("bert", [tensor])
        for _ in range(6):
            assert done.acquire(timeout=20 * patience())
        triton_client.stop_stream()
        assert answers == ["bert"] * 6
    entries = weir.log_entries(4, operation="grpc", outcome="ok")
    assert [(e["provider"], e["model"]) for e in entries] == [
        ("one", "llama"), ("two", "bert"), ("one", "llama"), ("two", "bert")]  # fmt: skip
    assert (entries[3]["messages_in"], entries[3]["messages_out"]) == (2, 6)


def field(number, value):
    """One field of a protobuf message, by hand."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def test_tokens_of_vertex_ai_are_read(make_weir):
    class Vertex(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_stream_rpc_method_handler(self.stream)

        def stream(self, request, context):
            yield field(2, b"\x12\x00")
            usage = field(1, 300) + field(2, 40) + field(3, 345) + field(5, 200) + field(14, 5)
            yield field(2, b"\x12\x00") + field(4, usage)

    server, port = serve([Vertex()])
    weir = make_weir(config({"google": row(port, ["google.cloud.aiplatform.*"])}))
    model = b"projects/p/locations/l/publishers/google/models/gemini-2.5-pro"
    name = "/google.cloud.aiplatform.v1.PredictionService/StreamGenerateContent"
    with grpc.insecure_channel(f"127.0.0.1:{weir.port}") as channel:
        call = channel.unary_stream(name)
        assert len(list(call(field(5, model), timeout=20 * patience()))) == 2
    [entry] = weir.log_entries(1, operation="grpc")
    assert entry["model"] == "gemini-2.5-pro" and entry["upstream_model"] == "gemini-2.5-pro"
    assert (entry["input_tokens"], entry["output_tokens"]) == (300, 45)
    assert (entry["cache_read_tokens"], entry["reasoning_tokens"]) == (200, 5)
    server.stop(0)
