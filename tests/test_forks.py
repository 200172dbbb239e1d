"""A forked command is to its test what a started one is."""

import os
import signal
import subprocess
import sys

import pytest

from tests import forks

SAYS_ALL = """
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["SAID"], sys.stdin.read(), __name__)
print("doubts", file=sys.stderr)
sys.exit(3)
"""


def test_it_is_given_and_gives_the_same(tmp_path):
    command = [sys.executable, "-c", SAYS_ALL, "one", "two é"]
    given = {"cwd": tmp_path, "env": {**os.environ, "SAID": "yes"}, "input": "in", "capture_output": True, "text": True}
    forked, started = forks.run(command, **given), subprocess.run(command, **given)
    assert (forked.stdout, forked.stderr, forked.returncode) == (started.stdout, started.stderr, started.returncode)
    with pytest.raises(subprocess.CalledProcessError):
        forks.run(command, check=True, **given)


@pytest.mark.parametrize("what", [["-m", "ser_gpu.predict"], ["predict.py"]], ids=["a module", "a file"])
def test_a_command_of_the_package_is_the_same(what):
    command = [sys.executable, *what, "--json", "missing.wav"]
    given = {"cwd": forks.ROOT, "capture_output": True, "text": True}
    forked, started = forks.run(command, **given), subprocess.run(command, **given)
    assert (forked.stdout, forked.stderr, forked.returncode) == (started.stdout, started.stderr, started.returncode)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(sent):
    script = "import sys; print('ready', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with forks.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
        process.send_signal(sent)
        assert process.wait(timeout=30) == -sent


def test_what_it_leaves_for_the_end_is_done():
    script = (
        "import atexit, threading, time\natexit.register(print, 'last')\nthreading.Timer(0.1, print, ['first']).start()"
    )
    assert forks.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "first\nlast\n"
