"""Commands as processes that begin at once: forked from one that has loaded torch, which takes Python two seconds.

`Popen` and `run` are those of `subprocess`, for commands that begin with `sys.executable`. From there on a process is
like any other: it has arguments, streams, signals and an end of its own. What Python does before, such as importing and
finding the terminal's encoding, is for tests to see that start Python.
"""

import atexit
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_ADDRESS = "SER_GPU_TEST_FORKS"  # of the server's socket, which all workers of a test run share
_LOADED = (
    "torch_audiomentations",
    "torch._dynamo",  # which torch's optimizers load
    "sklearn.model_selection",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "ser_gpu.predict",
    "ser_gpu.train",
    "ser_gpu.timeline.command",
)


class Popen(subprocess.Popen):
    """A process of the server's, as if it were one of ours."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startup, flags, shell, *more):
        # subprocess.Popen has made the pipes, and reads, writes, waits and signals afterwards
        pipes, (*_, new_session, _) = more[:6], more
        python, *arguments = args
        assert python == sys.executable, "not a command of Python"
        job = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "new_session": new_session}
        job["environment"] = dict(os.environ if env is None else env)
        ours = [end if end != -1 else number for number, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._server = _connected()
        socket.send_fds(self._server, [b"f"], ours)
        _send(self._server, job)
        self.pid, self._child_created = _received(self._server), True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, *_, **__):
        return self._ended(0)

    def _wait(self, timeout):
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _ended(self, timeout):
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._server, selectors.EVENT_READ)
                if selector.select(timeout):
                    self.returncode = _received(self._server)
                    self._server.close()
        return self.returncode


def run(args, capture_output=False, check=False, input=None, **options):
    """As `subprocess.run`."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(args, **options) as process:
        written, errors = process.communicate(input)
        done = subprocess.CompletedProcess(args, process.returncode, written, errors)
    if check:
        done.check_returncode()
    return done


def start():
    """Start the server, which ends with this process; while it loads, others may go on."""
    folder = tempfile.TemporaryDirectory(prefix="forks")
    os.environ[_ADDRESS] = str(Path(folder.name) / "socket")
    command = [sys.executable, "-m", "tests.forks", os.environ[_ADDRESS]]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    atexit.register(folder.cleanup)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)  # the first of the three


def _connected():
    if _ADDRESS not in os.environ:
        start()
    connection, end = socket.socket(socket.AF_UNIX), time.monotonic() + 60
    while True:
        try:
            connection.connect(os.environ[_ADDRESS])
            return connection
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _send(connection, message):
    content = json.dumps(message).encode()
    connection.sendall(len(content).to_bytes(8) + content)


def _received(connection):
    def exactly(size):
        content = b""
        while len(content) < size:
            content += (more := connection.recv(size - len(content)))
            if not more:
                raise EOFError("the server of forks has ended")
        return content

    return json.loads(exactly(int.from_bytes(exactly(8))))


def _serve(address):
    """Fork for whoever connects, until standard input ends. Returns in a forked process alone: what it is to run."""
    for name in _LOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and their end is the server's
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as selector:
        server.bind(address)
        server.listen()
        selector.register(server, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            if sys.stdin in [key.fileobj for key, _ in selector.select()]:
                os._exit(0)
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0 and (job := _watched(connection)):
                    return job


def _watched(connection):
    """Fork once more, say which process that is, and in the end how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    job = _received(connection)
    if (child := os.fork()) == 0:
        _become(job, streams)
        return job["arguments"]
    for each in streams:
        os.close(each)
    _send(connection, child)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        _send(connection, ended)
    finally:
        os._exit(0)


def _become(job, streams):
    if job["new_session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in os.environ)


if __name__ == "__main__":
    what, *rest = _serve(sys.argv[1])
    sys.path[0] = str(Path.cwd()) if what in ("-m", "-c") else str(Path(what).resolve().parent)
    sys.argv = [what, *rest[1:]] if what in ("-m", "-c") else [what, *rest]
    if what == "-m":
        sys.modules.pop(rest[0], None)  # it may be one of those that are loaded
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(what, run_name="__main__")
