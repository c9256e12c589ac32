"""The mock upstream and the load generator, as seen from Python."""
import http.client
import json
import os
import select
import subprocess

from . import processes
from .processes import BenchError


class Mock:
    """The mock upstream, running."""

    def __init__(self, program, core):
        self.process = processes.start([program], core, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchError("the mock upstream does not start")
        self.port = int(line)

    def move(self, core):
        os.sched_setaffinity(self.process.pid, {core})

    def ask(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stats(self):
        return self.ask("GET", "/stats")

    def release(self):
        """Lets all held answers go on."""
        self.ask("POST", "/release")

    def stop(self):
        processes.end(self.process)


class Load:
    """Calls of the load generator against one address."""

    def __init__(self, program, core, port, model_prefix="", key=None):
        self.core = core
        self.command = [program, "--target", f"127.0.0.1:{port}"]
        if model_prefix:
            self.command += ["--model-prefix", model_prefix]
        if key:
            self.command += ["--key", key]

    def options(self, settings):
        """{"duration_ms": 1, "stream": True} as a command line."""
        command = list(self.command)
        for name, value in settings.items():
            flag = "--" + name.replace("_", "-")
            if value is True:
                command.append(flag)
            elif value not in (None, False):
                command += [flag, str(value)]
        return command

    def start(self, **settings):
        return processes.start(self.options(settings), self.core, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    def run(self, limit_s=300, **settings):
        """Runs it to its end and returns its figures; they carry what was wrong in `faults`."""
        return self.finish(self.start(**settings), limit_s)

    def run_command(self, command, limit_s=60, **settings):
        """Mode start: times the first answer of a program that it starts itself."""
        process = processes.start(self.options(dict(settings, mode="start")) + ["--"] + command,
                                  self.core, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        return self.finish(process, limit_s)

    @staticmethod
    def wait_open(process, limit_s):
        """Waits until a run of mode hold or hangup says that all is open; returns how many."""
        ready, _, _ = select.select([process.stdout], [], [], limit_s)
        line = process.stdout.readline() if ready else ""
        if '"open"' not in line:
            said = json.loads(line)["first_fault"] if line.startswith("{") else "it says nothing"
            processes.end(process)
            raise BenchError(f"the streams do not all open: {said}")
        return json.loads(line)["open"]

    @staticmethod
    def hang_up(process):
        """Mode hangup: lets it close all its connections, and waits until it has ended."""
        process.communicate("\n", timeout=30)
        processes.end(process)

    @staticmethod
    def finish(process, limit_s):
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            processes.end(process)
            raise BenchError(f"the load generator did not end within {limit_s} s") from None
        finally:
            processes.end(process)
        lines = output.strip().splitlines()
        if process.returncode not in (0, 1) or not lines:
            raise BenchError(f"the load generator failed with status {process.returncode}")
        return json.loads(lines[-1])


class Sockets:
    """Realtime sessions, both ends of them: opened through a proxy, then run."""

    def __init__(self, program, core, **settings):
        command = [program]
        for name, value in settings.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        self.process = processes.start(command, core, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def _say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def open(self, proxy_port):
        self._say(proxy_port)
        if self.process.stdout.readline().strip() != "open":
            raise BenchError("the sessions do not open")

    def run(self):
        self._say("run")
        try:
            output, _ = self.process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            raise BenchError("the sessions do not end") from None
        finally:
            processes.end(self.process)
        return json.loads(output.splitlines()[-1])
