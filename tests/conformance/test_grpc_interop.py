"""gRPC's own interoperability cases, by grpc-go's client and server, with weir between them;
grpcurl, and ghz for load."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from harness.h2bridge import free_port
from harness.weir import config, patience, wait_until

TOOLS = {
    "client": "google.golang.org/grpc/interop/client@v1.76.0",
    "server": "google.golang.org/grpc/interop/server@v1.76.0",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
    "ghz": "github.com/bojand/ghz/cmd/ghz@v0.120.0",
}
# Those of gRPC's interop-test-descriptions.md that say something of what stands between; those on
# compression, credentials of Google and GET are of the ends alone.
CASES = (
    "empty_unary large_unary client_streaming server_streaming ping_pong empty_stream "
    "timeout_on_sleeping_server cancel_after_begin cancel_after_first_response "
    "status_code_and_message special_status_message custom_metadata unimplemented_method "
    "unimplemented_service rpc_soak channel_soak"
).split()


def tool(name):
    """The program, built by Go into the cache; skips where that cannot be."""
    cache = os.environ.get("WEIR_CACHE") or pathlib.Path.home() / ".cache" / "weir"
    module = TOOLS[name]
    folder = pathlib.Path(cache) / ("go-" + module.replace("/", "_"))
    path = folder / name
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not path.is_file() and go:
        env = dict(os.environ, GOBIN=str(folder), GOFLAGS="-mod=mod")
        try:
            subprocess.run([go, "install", module], env=env, capture_output=True, timeout=400)
        except subprocess.TimeoutExpired:
            pass
    if not path.is_file():
        pytest.skip(f"{name} of {module} could not be built: it needs Go and its modules")
    return str(path)


@pytest.fixture(scope="module")
def gateway(make_shared_weir):
    program, port = tool("server"), free_port()
    server = subprocess.Popen([program, "-port", str(port)], stderr=subprocess.DEVNULL)
    row = {"base_url": f"http://127.0.0.1:{port}", "grpc": {"services": ["*"]}}
    try:
        weir = make_shared_weir(config({"interop": row}))
        wait_until(lambda: run_case(weir, "empty_unary").returncode == 0, 60 * patience(), "a server")
        yield weir
    finally:
        server.kill()
        server.wait()


def run_case(weir, case):
    return subprocess.run(
        [tool("client"), "-use_tls=false", "-server_host=127.0.0.1", f"-server_port={weir.port}",
         f"-test_case={case}", "-soak_iterations=50",
         f"-soak_overall_timeout_seconds={int(60 * patience())}",
         f"-soak_per_iteration_max_acceptable_latency_ms={int(5000 * patience())}"],
        capture_output=True, text=True, timeout=90 * patience(),
    )  # fmt: skip


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_interop(gateway, case):
    done = run_case(gateway, case)
    assert done.returncode == 0, done.stderr[-2000:]


PROTO = """syntax = "proto3";
package grpc.testing;
message Payload { bytes body = 2; }
message SimpleRequest { int32 response_size = 2; }
message SimpleResponse { Payload payload = 1; }
service TestService { rpc UnaryCall(SimpleRequest) returns (SimpleResponse); }
"""


@pytest.mark.timeout(600)
def test_grpcurl(gateway, tmp_path):
    (tmp_path / "test.proto").write_text(PROTO)
    done = subprocess.run(
        [tool("grpcurl"), "-plaintext", "-import-path", str(tmp_path), "-proto", "test.proto",
         "-d", '{"responseSize": 3}', f"127.0.0.1:{gateway.port}", "grpc.testing.TestService/UnaryCall"],
        capture_output=True, text=True, timeout=60 * patience(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["payload"]["body"] == "AAAA"
    wait_until(
        lambda: any(
            e["grpc_method"] == "grpc.testing.TestService/UnaryCall" and e["grpc_status"] == "OK"
            for e in gateway.log_entries(operation="grpc")
        ),
        20, "its line in the log",
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_ghz_load(gateway, tmp_path):
    """Two thousand calls on five connections, fifty at a time: each has its answer and its line."""
    (tmp_path / "test.proto").write_text(PROTO)
    before = gateway.metric("weir_grpc_messages_total", direction="in")
    done = subprocess.run(
        [tool("ghz"), "--insecure", "-i", str(tmp_path), "--proto", "test.proto",
         "--call", "grpc.testing.TestService.UnaryCall", "-d", '{"responseSize": 3}',
         "-n", "2000", "-c", "50", "--connections", "5", "-O", "json", "--timeout", "60s",
         f"127.0.0.1:{gateway.port}"],
        capture_output=True, text=True, timeout=120 * patience(), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["statusCodeDistribution"] == {"OK": 2000}
    wait_until(
        lambda: gateway.metric("weir_grpc_messages_total", direction="in") - before == 2000,
        20, "the count of the messages",
    )  # fmt: skip
