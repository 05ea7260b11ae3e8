"""Real processes that start in milliseconds: forks of a process that has imported what programs of this project need.

`ForkServer(...).start([script, *options])` does what `subprocess.Popen([sys.executable, script, *options])` does, with
a process id, signals, output and an exit status, but without the seconds of imports. Tests of imports themselves, or
of variables that are read during imports, need a new interpreter from `subprocess`.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import types
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LARGEST = 2**17  # bytes of a request


class Forked:
    """A running program, to be used like `subprocess.Popen`."""

    def __init__(self, reports: int):
        self._reports = os.fdopen(reports, "rb")
        self.pid = int(self._reports.readline())
        self.returncode: int | None = None
        os.set_blocking(self._reports.fileno(), False)

    def poll(self) -> int | None:
        if self.returncode is None and (line := self._reports.readline()):
            self.returncode = int(line)
            self._reports.close()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the exit status.

        Raises:
            subprocess.TimeoutExpired: The program still runs after so many seconds.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.005)
        return self.returncode

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """A process that imports modules, then forks for every program.

    Args:
        modules: Modules to import; those that are not installed are skipped.
        env: Environment variables during the imports.
        parent: Server to fork from, which has imported other modules. Default: a new interpreter.
    """

    def __init__(self, modules: Sequence[str], env: dict[str, str], parent: "ForkServer | None" = None):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if parent is None:
                command = [sys.executable, __file__, str(theirs.fileno()), *modules]
                self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)
            else:
                self._server = parent._fork({"modules": list(modules), "env": env}, [theirs.fileno()])
        weakref.finalize(self, _close, self._channel, self._server)  # also when the tests end

    def start(
        self, command: Sequence, env: dict[str, str], cwd=None, stdout=1, stderr=2, start_new_session: bool = False
    ) -> Forked:
        """Start a program.

        Args:
            command: The arguments of `python`: `[script, ...]`, `["-m", module, ...]` or `["-c", code, ...]`.
            env: All environment variables.
            cwd: Working directory; default: that of this process.
            stdout, stderr: Files or file descriptors.
            start_new_session: As for `subprocess.Popen`.
        """
        command, cwd = list(map(str, command)), str(cwd or os.getcwd())
        files = [file if isinstance(file, int) else file.fileno() for file in (stdout, stderr)]
        return self._fork({"command": command, "env": env, "cwd": cwd, "new_session": start_new_session}, files)

    def _fork(self, request: dict, files: list[int]) -> Forked:
        ours, theirs = os.pipe()
        socket.send_fds(self._channel, [json.dumps(request).encode()], [theirs, *files])
        os.close(theirs)
        return Forked(ours)


def _close(channel: socket.socket, server: subprocess.Popen | Forked):
    channel.close()
    server.wait(60)


def _serve(channel: socket.socket) -> tuple[dict, list[int]]:
    """Fork for every request, and report the process id and later the exit status.

    Returns:
        In each fork: its request, and the file descriptors that came with it.
    """
    reports: dict[int, int] = {}  # file descriptor by process id

    def reap(*_):
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                report = reports.pop(found[0])
                with suppress(BrokenPipeError):
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(found[1]))
                os.close(report)

    signal.signal(signal.SIGCHLD, reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, which closes the channel
    while True:
        message, files, *_ = socket.recv_fds(channel, _LARGEST, 3)
        if not message:
            os._exit(0)
        report, *files = files
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until `reports` has the new process
        pid = os.fork()
        if pid == 0:
            channel.close()
            for other in (*reports.values(), report):
                os.close(other)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            return json.loads(message), files
        os.write(report, b"%d\n" % pid)
        reports[pid] = report
        for file in files:
            os.close(file)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _wait_for_program(channel: socket.socket, modules: list[str]) -> dict:
    """Serve, here and in servers that are forked from here.

    Returns:
        In the fork of a program: its request.
    """
    while True:
        for name in modules:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()  # forks neither search nor copy what was imported
        request, files = _serve(channel)
        os.environ.clear()
        os.environ.update(request["env"])
        if "modules" not in request:
            break
        channel, modules = socket.socket(fileno=files[0]), request["modules"]
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    return request


def _run(command: list[str]):
    """Run a program as the interpreter does."""
    if command[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *command[2:]], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(command[1], "<string>", "exec"), main.__dict__)
    elif command[0] == "-m":
        sys.argv, sys.path[0] = command[1:], os.getcwd()
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = command, str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    program = _wait_for_program(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if program["new_session"]:
        os.setsid()
    os.chdir(program["cwd"])
    _run(program["command"])
