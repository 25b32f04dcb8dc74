"""
Processes that tests start, and the ports they listen on.

Each runs in a session of its own, so that a signal reaches it with all its descendants, that a
control-C in the terminal reaches none of them, and that none survives the test run.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.live.waiting import Late, Moment, reactor, within

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free_port() -> int:
    """
    A TCP port on which nobody listens, and which this run has not given away before.

    It is not one that the kernel hands to outgoing connections: a server must find its port
    free again after a restart, and a client that tries a dead server's ephemeral port again and
    again is one day given that very port, and connects to itself.
    """
    low, high = map(int, _EPHEMERAL.read_text().split()) if _EPHEMERAL.exists() else (32768, 60999)
    for attempt in range(10_000):
        port = random.randrange(10_000, 65_000)
        if port in _given or (low <= port <= high and attempt < 5_000):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _given.add(port)
        return port
    raise OSError(errno.EADDRINUSE, "no free TCP port on 127.0.0.1 in 10000 tries")


def exists(pid: int) -> bool:
    """
    Whether a process runs; one that is dead and not yet buried does not.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class _Reaper:
    """
    Our end of the pipe to L{tests.live.reaper}.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def tell(self, line: str) -> None:
        if self._process is None:
            script = Path(__file__).with_name("reaper.py")
            # Its standard input closes when we end, since no child of ours inherits our end.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script)],
                stdin=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(f"{line}\n".encode())


_reaper = _Reaper()


class Child(ProcessProtocol):
    """
    One process and its descendants.

    @ivar pid: of the process, and of its process group.
    @ivar ended: when the process has; its value is what C{subprocess} calls the return code, an
        exit code or a signal's number negated.
    @ivar expected: whether its end was asked for.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        """
        @param log: takes its standard output and error, after what it holds already. The process
            writes there itself, so that nothing is lost when one of us dies or is stopped.
        """
        self.arguments = arguments
        self.log_path = log
        self.ended: Moment[int] = Moment()
        self.expected = False
        self._gone = False
        setsid = shutil.which("setsid")
        assert setsid, "setsid is missing: apt-get install util-linux"
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            transport = reactor.spawnProcess(
                self,
                setsid,
                [setsid, *arguments],
                env=dict(environment),
                path=str(cwd),
                childFDs={0: nothing, 1: output, 2: output},
            )
        finally:
            os.close(nothing)
            os.close(output)
        assert transport.pid is not None
        self.pid: int = transport.pid
        _reaper.tell(f"+{self.pid}")

    def processEnded(self, reason: Failure) -> None:
        """
        Twisted has reaped the process.
        """
        code = 0
        if isinstance(reason.value, ProcessTerminated):
            code = -reason.value.signal if reason.value.signal else reason.value.exitCode or 0
        if not self.leftovers:
            # From here on the number may become somebody else's.
            self._gone = True
            _reaper.tell(f"-{self.pid}")
        self.ended.now(code)

    @property
    def alive(self) -> bool:
        """
        Whether the process itself runs, or is stopped.
        """
        return not self.ended.past

    @property
    def leftovers(self) -> bool:
        """
        Whether anything of its group runs.
        """
        if self._gone:
            return False
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def send(self, number: int, group: bool = True) -> None:
        """
        Send a signal to the process, with its descendants unless C{group} is false.

        @raise ProcessLookupError: it has ended.
        """
        if self.ended.past:
            raise ProcessLookupError(errno.ESRCH, f"{self.arguments[0]} has ended")
        if group:
            try:
                os.killpg(self.pid, number)
                return
            except ProcessLookupError:
                # Between its start and its setsid() it has no group of its own yet.
                pass
        os.kill(self.pid, number)

    def end(self, number: int = signal.SIGTERM, timeout: float = 15.0) -> Deferred[int]:
        """
        Ask the process to end, and fire with its return code when it has.

        @raise Late: it did not. Then it has been killed.
        """
        if self.alive:
            self.expected = True
            # A stopped process would only take the signal once it is continued.
            self.send(signal.SIGCONT)
            self.send(number, group=False)

        def kill(failure: Failure) -> Failure:
            failure.trap(Late)
            self.sweep()
            return failure

        name = Path(self.arguments[0]).name
        what = f"{name} to end after signal {number}"
        return within(timeout, what, self.ended.wait()).addErrback(kill)

    def kill(self, timeout: float = 10.0) -> Deferred[int]:
        """
        Kill the process and its descendants, and fire when it is gone.
        """
        self.expected = self.expected or self.alive
        self.sweep()
        return within(timeout, f"process {self.pid} to die", self.ended.wait())

    def sweep(self) -> None:
        """
        Kill whatever of its group is left.
        """
        try:
            if self.alive:
                self.send(signal.SIGKILL)
            elif not self._gone:
                os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def log(self, lines: int = 0) -> str:
        """
        What it wrote; only the last C{lines} if that is more than zero.
        """
        text = self.log_path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) if lines else text


async def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    timeout: float = 30.0,
) -> tuple[int, str]:
    """
    Run a command to its end.

    @return: its return code and all it wrote.
    @raise Late: it took longer than C{timeout} seconds, and has been killed.
    """
    with _scratch(cwd) as log:
        child = Child(arguments, environment, cwd, log)
        try:
            code = await within(timeout, " ".join(arguments), child.ended.wait())
        finally:
            child.sweep()
        return code, child.log()


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    path = directory / f".output-{random.getrandbits(64):x}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
