"""The programs that are compared: how each is configured and started."""
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import time

from . import machine, processes
from .processes import BenchError

BENCH_KEY = "bench-key-0123456789abcdef"


class Contender:
    """One program between client and upstream. `model_prefix` and `key` are what clients send."""

    name = ""
    model_prefix = ""
    key = None
    is_proxy = True

    def missing(self):
        """Why it cannot run here, or None."""
        return None

    def command(self, folder, port, upstream_port):
        """Writes its configuration below `folder` and returns how it is started."""
        raise NotImplementedError


class Direct(Contender):
    """No proxy at all: what a call costs by itself."""

    name = "direct"
    is_proxy = False


class Nginx(Contender):
    """nginx that does nothing but proxy: one worker, keep-alive both ways, no buffering."""

    name = "nginx"
    listen = ""
    config = """\
daemon off;
{user}worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{
    worker_connections {connections};
}}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} {listen}backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering off;
            client_body_buffer_size 256k;
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
        }}
    }}
}}
"""

    def missing(self):
        return None if shutil.which("nginx") else "nginx is not installed"

    def command(self, folder, port, upstream_port):
        # More connections than descriptors: when fewer than a sixteenth of them are free, nginx
        # closes clients that have not sent their request yet.
        files = machine.open_file_limit()
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as config:
            config.write(self.config.format(
                folder=folder, port=port, upstream=upstream_port, files=files, listen=self.listen,
                connections=files + files // 8, user="user root;\n" if os.geteuid() == 0 else ""))
        return ["nginx", "-p", folder, "-e", os.path.join(folder, "error.log"), "-c", path]


class NginxH2(Nginx):
    """The same for clients that speak HTTP/2 from the first byte."""

    listen = "http2 "


class HAProxy(Contender):
    """HAProxy that does nothing but proxy: one thread, keep-alive both ways."""

    name = "haproxy"
    bind = ""
    config = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    option http-no-delay
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096{bind}
    default_backend upstream
backend upstream
    server mock 127.0.0.1:{upstream}
"""

    def missing(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def command(self, folder, port, upstream_port):
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="utf-8") as config:
            config.write(self.config.format(port=port, upstream=upstream_port,
                                            bind=self.bind,
                                            connections=(machine.open_file_limit() - 200) // 2))
        return ["haproxy", "-db", "-q", "-f", path]


class HAProxyH2(HAProxy):
    """The same for clients that speak HTTP/2 from the first byte."""

    bind = " proto h2"


class Weir(Contender):
    """weir as it would be run: key check, route, usage, metrics, access log; one thread."""

    name = "weir"
    model_prefix = "mock/"
    key = BENCH_KEY
    config = """\
listen: ["127.0.0.1:{port}"]
keys:
  - name: bench
    hash: "sha256:{hash}"
providers:
  mock:
    dialect: openai_chat
    base_url: "http://127.0.0.1:{upstream}/v1"
    api_key: upstream-key-of-the-bench
    allow_private: true
    models: ["bench*"]
log:
  access: "{log}"
  level: warn
timeouts:
  client_idle: 1h
pool:
  idle_per_provider: 1024
"""

    def __init__(self, program):
        self.program = program

    def missing(self):
        return None if os.access(self.program, os.X_OK) else f"there is no {self.program}"

    def log_path(self, folder):
        return os.path.join(folder, "access.log")

    def command(self, folder, port, upstream_port):
        path = os.path.join(folder, "weir.yaml")
        with open(path, "w", encoding="utf-8") as config:
            config.write(self.config.format(
                port=port, upstream=upstream_port, log=self.log_path(folder),
                hash=hashlib.sha256(BENCH_KEY.encode()).hexdigest()))
        return [self.program, "run", "--config", path, "--threads", "1"]


class StuckLogWeir(Weir):
    """weir whose access log goes to a pipe that nobody reads: it must not feel it."""

    name = "weir, stuck log"

    def log_path(self, folder):
        path = os.path.join(folder, "access.fifo")
        if not os.path.exists(path):
            os.mkfifo(path)
        return path


class PlainWeir(Weir):
    """weir that tries once, and keeps nothing of a stream."""

    name = "weir, plain"
    config = Weir.config + """\
routing:
  retries: 0
  mid_stream: terminate
  resume: never
  breaker: {{failures: 0}}
"""


class SocketWeir(Weir):
    """weir with a provider of realtime sessions, and one of streams."""

    name = "weir, sockets"

    def __init__(self, program, sockets_port):
        super().__init__(program)
        self.config = self.config.replace("log:\n", f"""\
  ws:
    base_url: "http://127.0.0.1:{sockets_port}/v1"
    api_key: upstream-key-of-the-bench
    allow_private: true
log:
""", 1)


class RoutedWeir(Weir):
    """weir with a route for each model, on which everything that keeps a request alive is on."""

    name = "weir, routed"
    model_prefix = "routed-"
    config = Weir.config + """\
routing:
  retries: 3
  mid_stream: continue
  resume: {resume}
  breaker: {{failures: 5, failure_percent: 50, slow_first_token: 30s}}
  hedge: {{after: 30s, percentile: 95}}
  when_limited: wait
routes:
"""
    route = """\
  {prefix}{model}:
    strategy: least_latency
    targets:
      - target: mock/{model}
        when: {{input_tokens: {{$lt: 10000000}}}}
    fallbacks:
      context_window: [mock/bench]
"""
    resume = "on_request"

    def __init__(self, program, models):
        super().__init__(program)
        # In braces, since this goes through format once more.
        self.config = self.config.replace("{resume}", self.resume) + "".join(
            self.route.replace("{prefix}", self.model_prefix).replace("{model}", model)
            for model in models)


class ResumableWeir(RoutedWeir):
    """The same with streams that clients may come back to."""

    name = "weir, resumable"
    resume = "always"


def over_h2(contender):
    """The same program for clients that speak HTTP/2; weir's port hears which version comes."""
    variants = {Nginx: NginxH2, HAProxy: HAProxyH2}
    return variants.get(type(contender), lambda: contender)()


class Running:
    """A contender that has been started and answers."""

    def __init__(self, contender, process, port):
        self.contender = contender
        self.process = process
        self.port = port

    def cpu_ns(self):
        return machine.cpu_ns(self.process.pid)

    def cpu_ticks_s(self):
        return machine.cpu_ticks_s(self.process.pid)

    def memory(self):
        return machine.memory_bytes(self.process.pid)


def _is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(contender, folder, upstream_port, core, wrapper=()):
    """Starts a contender, waits until it listens, and ends it at the end of the block. `wrapper`
    is put before its command line, as valgrind is."""
    if not contender.is_proxy:
        yield Running(contender, None, upstream_port)
        return
    os.makedirs(folder, exist_ok=True)
    port = processes.free_port()
    command = list(wrapper) + contender.command(folder, port, upstream_port)
    fifo = None
    if isinstance(contender, StuckLogWeir):
        fifo = os.open(contender.log_path(folder), os.O_RDWR | os.O_NONBLOCK)
    output_path = os.path.join(folder, "output.txt")
    with open(output_path, "wb") as output:
        process = processes.start(command, core, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=output, close_fds=True)
    try:
        deadline = time.monotonic() + 30
        while not _is_listening(port):
            if process.poll() is not None or time.monotonic() > deadline:
                with open(output_path, encoding="utf-8", errors="replace") as output:
                    raise BenchError(f"{contender.name} does not start: {output.read()[-600:]}")
            time.sleep(0.005)
        yield Running(contender, process, port)
    finally:
        # valgrind writes its figures at the end, and takes its time.
        processes.end(process, patience_s=60 if wrapper else 10)
        if fifo is not None:
            os.close(fifo)
    # Not after an error: what the program has said then stays. Its access log may be large.
    shutil.rmtree(folder, ignore_errors=True)
