"""Runs a command with a time limit, ending everything it started when the limit is reached."""
import os
import signal
import subprocess


def run(command, environment, cwd, limit_s):
    """Returns (exit status or None when the limit was reached, combined output).

    The command gets a process group of its own, so that servers it left behind end with it.
    """
    process = subprocess.Popen(
        command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit_s)
        status = process.returncode
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        output, _ = process.communicate()
        status = None
    end_group(process.pid)
    return status, output.decode("utf-8", "replace")


def end_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def describe(status, limit_s):
    """How a command ended, in words."""
    if status is None:
        return f"ended after its limit of {limit_s:.0f} s"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"
