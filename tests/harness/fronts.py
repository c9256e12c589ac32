"""Servers of others in front of weir, configured by what the pages of docs/behind print.

A page's block is taken as it stands: only addresses, ports and paths of files are changed, and each
change must find what it changes. What a distribution's own main file says is supplied here.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from .recordings import ROOT
from .weir import clean_environment, patience, wait_until

PAGES = ROOT / "docs" / "behind"
NAME = "weir.example.com"  # what the pages call the machine
WEIR = "127.0.0.1:8080"  # where the pages have weir
FENCE = re.compile(r"^```\w+\n(.*?)^```$", re.M | re.S)
START_S = 20


def block(page, title):
    """The block of a page that begins with the title, as a comment or as it stands."""
    text = (PAGES / page).read_text(encoding="utf-8")
    found = [b for b in FENCE.findall(text) if b.startswith((f"# {title}", title))]
    assert len(found) == 1, f"{page} has {len(found)} blocks called {title!r}"
    return found[0]


def change(text, changes):
    """The text with every one of `changes`; what is not there to be changed is an error."""
    for old, new in changes.items():
        assert old in text, f"the page does not say {old!r} any more:\n{text}"
        text = text.replace(old, str(new))
    return text


def program(name):
    """The path of a server; skips the test where it is not installed."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Front:
    """One server in front of what listens on `behind`. `title` is the block of the page; `changes`
    are further changes of its text."""

    page = title = ""
    is_tls = True

    def __init__(self, folder, behind, authority, title=None, changes=None):
        self.folder = pathlib.Path(folder)
        self.behind = behind
        if self.is_tls:
            self.certificate, self.key = authority.issue(NAME, f"DNS:{NAME}")
            self.authority = authority
        self.config = self.folder / "front.conf"
        self.said = self.folder / "front.out"
        for is_last in (False, False, True):
            self.port = free_port()
            text = change(block(self.page, title or self.title), self.places() | (changes or {}))
            self.config.write_text(text, encoding="utf-8")
            self.start()
            if self.wait_open(is_last):
                break

    def start(self):
        with open(self.said, "wb") as out:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=clean_environment(),
            )

    def places(self):
        """What of the page is elsewhere here: {as printed: as run}."""
        raise NotImplementedError

    def command(self):
        """Writes what else the server needs; the command line that starts it."""
        raise NotImplementedError

    def wait_open(self, is_last):
        """False when it ended because somebody else had taken the port, and may be tried again."""

        def is_open():
            if self.process.poll() is not None:
                return True
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True

        try:
            wait_until(is_open, START_S * patience(), f"{type(self).__name__} listening")
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            return True
        except AssertionError as error:
            self.stop()
            said = self.said.read_text()
            if not is_last and "in use" in said.lower():
                return False
            raise AssertionError(f"{error}; it said:\n{said}") from None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10 * patience())
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def url(self):
        return f"https://{NAME}:{self.port}" if self.is_tls else f"http://127.0.0.1:{self.port}"

    def curl(self):
        """How curl finds it."""
        if not self.is_tls:
            return []
        return ["--cacert", str(self.authority.cert), "--resolve", f"{NAME}:{self.port}:127.0.0.1"]

    def connect(self):
        """A socket to it, as a browser would open one for a WebSocket."""
        sock = socket.create_connection(("127.0.0.1", self.port), 10)
        if not self.is_tls:
            return sock
        return self.authority.client_context().wrap_socket(sock, server_hostname=NAME)

    def tls_files(self):
        return {
            "/etc/ssl/weir/fullchain.pem": self.certificate,
            "/etc/ssl/weir/privkey.pem": self.key,
        }


class Nginx(Front):
    page, title = "nginx.md", "/etc/nginx/conf.d/weir.conf"
    # As Debian's nginx.conf has it, where it touches answers.
    main = """\
daemon off;
{user}worker_processes 1;
pid {folder}/pid;
error_log {folder}/front.out warn;
events {{ }}
http {{
    sendfile on;
    tcp_nopush on;
    gzip on;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/front.conf;
}}
"""

    def places(self):
        return self.tls_files() | {"listen 443": f"listen 127.0.0.1:{self.port}", **self.to_weir()}

    def to_weir(self):
        return {WEIR: f"127.0.0.1:{self.behind}"}

    def command(self):
        main = self.folder / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""
        main.write_text(self.main.format(folder=self.folder, user=user), encoding="utf-8")
        return [program("nginx"), "-p", str(self.folder), "-e", str(self.said), "-c", str(main)]


class BareNginx(Nginx):
    """nginx with everything as it comes, buffering too."""

    title, is_tls = "the least", False

    def places(self):
        return {"listen 80": f"listen 127.0.0.1:{self.port}", **self.to_weir()}


class HAProxy(Front):
    page, title = "haproxy.md", "/etc/haproxy/haproxy.cfg"

    def places(self):
        both = self.folder / "both.pem"
        parts = [pathlib.Path(p).read_text() for p in (self.certificate, self.key)]
        both.write_text("".join(parts))
        return {
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/weir.pem": both,
            WEIR: f"127.0.0.1:{self.behind}",
        }

    def command(self):
        return [program("haproxy"), "-db", "-f", str(self.config)]


class PlainHAProxy(HAProxy):
    """HAProxy behind something that ended TLS: here it would wait for full packets by itself."""

    is_tls = False

    def places(self):
        return {
            "bind :443 ssl crt /etc/haproxy/weir.pem alpn h2,http/1.1": f"bind 127.0.0.1:{self.port}",
            WEIR: f"127.0.0.1:{self.behind}",
        }


class Apache(Front):
    page, title = "apache.md", "/etc/apache2/sites-available/weir.conf"
    # Besides what the page enables, these are on in Debian's packages; it compresses fewer types.
    usual = ("mpm_event", "authz_core", "env", "deflate", "filter", "reqtimeout")
    needed = {"ssl": ("socache_shmcb",)}
    main = """\
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog {folder}/front.out
LogLevel warn
{user}{modules}
Listen 127.0.0.1:{port}
AddOutputFilterByType DEFLATE text/html text/plain text/css application/json text/event-stream
Include {folder}/front.conf
"""

    def places(self):
        return self.tls_files() | {
            "*:443": f"127.0.0.1:{self.port}",
            WEIR: f"127.0.0.1:{self.behind}",
        }

    def modules(self):
        enabled = re.search(r"^a2enmod (.*)$", block(self.page, "a2enmod"), re.M)[1].split()
        wanted = [*self.usual, *enabled]
        wanted += [more for name in enabled for more in self.needed.get(name, ())]
        folder = pathlib.Path("/usr/lib/apache2/modules")
        return "\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in wanted)

    def command(self):
        path = program("apache2")
        main = self.folder / "apache2.conf"
        user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        main.write_text(
            self.main.format(
                folder=self.folder, port=self.port, user=user, modules=self.modules()
            ),
            encoding="utf-8",
        )
        return [path, "-D", "FOREGROUND", "-f", str(main)]


class Varnish(Front):
    page, title, is_tls = "varnish.md", "/etc/varnish/weir.vcl", False

    def places(self):
        return {'.port = "8080"': f'.port = "{self.behind}"'}

    def command(self):
        path = program("varnishd")
        line = change(
            block(self.page, "varnishd ").strip(),
            {"-a :80": f"-a 127.0.0.1:{self.port}", "/etc/varnish/weir.vcl": self.config},
        )
        # In a folder of the test's own, where its own user could not go.
        jail = ["-j", "none"] if os.geteuid() == 0 else []
        place = ["-F", "-n", str(self.folder / "varnish"), "-s", "default,16m"]
        return [path, *jail, *line.split()[1:], *place]


class Envoy(Front):
    page, title = "envoy.md", "envoy.yaml"

    def places(self):
        return self.tls_files() | {
            "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {self.port}",
            "port_value: 8080": f"port_value: {self.behind}",
        }

    def command(self):
        config = self.config.rename(self.folder / "envoy.yaml")
        return [program("envoy"), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1",
                "-l", "warn"]  # fmt: skip


FRONTS = [BareNginx, Nginx, HAProxy, Apache, Varnish, Envoy]


class Curl:
    """A request whose answer is read as it comes: every event with the time of its arrival."""

    def __init__(self, front, path, body, *args, seconds=60):
        command = ["curl", "-sS", "-N", "-D", "-", "--max-time", str(seconds * patience())]
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-", *args]
        command += front.curl() + [front.url + path]
        self.process = subprocess.Popen(
            command,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.status_line = ""
        self.headers = {}
        self.events = []  # (time of arrival, text with the empty line that ends it)
        self.rest = b""  # what no empty line ends: an error, say
        self._body = body
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(BrokenPipeError), self.process.stdin:
            self.process.stdin.write(self._body)
        is_head = True
        while piece := os.read(self.process.stdout.fileno(), 65536):
            now = time.monotonic()
            with self._changed:
                self.rest += piece
                while is_head and b"\r\n\r\n" in self.rest:
                    head, self.rest = self.rest.split(b"\r\n\r\n", 1)
                    is_head = self._take_head(head.decode("latin-1"))
                while not is_head and b"\n\n" in self.rest:
                    event, self.rest = self.rest.split(b"\n\n", 1)
                    self.events.append((now, event + b"\n\n"))
                self._changed.notify_all()

    def _take_head(self, text):
        """True when another head follows: of 100 Continue and its like."""
        self.status_line, *lines = text.split("\r\n")
        self.headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        return self.status_line.split()[1].startswith("1")

    @property
    def body(self):
        return b"".join(event for _, event in self.events)

    def wait_events(self, count, seconds=20):
        with self._changed:
            there = self._changed.wait_for(lambda: len(self.events) >= count, seconds * patience())
        assert there, f"{len(self.events)} events came: {self.status_line} {self.body + self.rest!r}"

    def finish(self):
        """Waits for the end; curl's exit status and what it said."""
        code = self.process.wait()
        self._reader.join(10)
        said = self.process.stderr.read().decode()
        self.close()
        return code, said

    def close(self):
        """Goes away, as a client does that has enough."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
