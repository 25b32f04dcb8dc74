"""
A server under measurement: one process, or one and its children.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from benchmarks.accounts import Account, account, family
from benchmarks.roster import Peer, Site

START_PATIENCE = 30.0
STOP_PATIENCE = 5.0
QUIET = 0.2
"""
Seconds without any work to speak of after which a server is taken to have nothing left to do.
"""


class Failed(Exception):
    """
    A server did not start, ended, or did not do its work. The text says how.
    """


class Server:
    """
    Started by C{with}, and gone at the end of it.

    @ivar pids: its processes, once it has started.
    """

    def __init__(self, peer: Peer, deflate: bool = False) -> None:
        self.peer = peer
        self._temporary = tempfile.TemporaryDirectory(prefix="gatewayd-benchmark-")
        self.site = Site(_free_port(), _free_port(), Path(self._temporary.name), deflate)
        self._process: subprocess.Popen[bytes] | None = None
        self.pids: list[int] = []

    def __enter__(self) -> Server:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        environment |= self.peer.environment
        with (self.site.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_until_we_end(), *self.peer.command(self.site)],
                cwd=self.site.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # So that a signal reaches what it starts, and a control-C does not.
                start_new_session=True,
            )
        try:
            for port in {self.site.web, self.publishing_port}:
                self._wait_for(port)
            self.settle()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def publishing_port(self) -> int:
        """
        Where it takes events.
        """
        return self.site.web if self.peer.dialect.web else self.site.control

    def _wait_for(self, port: int) -> None:
        assert self._process is not None
        until = time.monotonic() + START_PATIENCE
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise Failed(f"it ended with {self._process.returncode}:\n{self.log()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise Failed(f"it does not listen after {START_PATIENCE:g} seconds:\n{self.log()}")

    def account(self) -> Account:
        """
        What it has used until now.

        @raise Failed: it has ended.
        """
        try:
            return account(self.pids)
        except (OSError, IndexError):
            raise Failed(f"it ended by itself:\n{self.log()}") from None

    def settle(self, patience: float = 10.0) -> None:
        """
        Return when it has nothing left to do, or after C{patience} seconds.
        """
        assert self._process is not None
        self.pids = family(self._process.pid)
        before = self.account()
        until = time.monotonic() + patience
        while time.monotonic() < until:
            time.sleep(QUIET)
            after = self.account()
            if after.cpu - before.cpu < 0.02 * QUIET:
                return
            before = after

    def log(self) -> str:
        """
        The end of what it wrote.
        """
        lines = (self.site.folder / "log").read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-15:])

    def stop(self) -> None:
        """
        End it, and wait until it is gone.
        """
        if self._process is None:
            return
        # Its clients are thousands and nobody cares how they are told.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(STOP_PATIENCE)
        self._process = None
        self._temporary.cleanup()


def _until_we_end() -> list[str]:
    """
    What makes the kernel end a server when we are killed and cannot.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _free_port() -> int:
    # Below those that the kernel gives to the thousands of clients of the server before.
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
