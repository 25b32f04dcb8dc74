"""
Several processes behind one port: C{[gateway] workers}. One process uses one core.

The one that is started listens, and hands the listening sockets to as many others as are wanted.
Each of those is an instance of its own on the bus, no different from one on another machine; so
they need Redis, and share nothing here but where their clients come in. What the first one does
beside is to start again whoever ends, and to pass on what it is signalled.

An operator sees each by itself: the first at C{[http] listen}, the second one port higher, and
so on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from typing import Any, Callable, Mapping, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from gatewayd.config import Config
from gatewayd.config.endpoints import with_backlog
from gatewayd.retry import Backoff
from gatewayd.services import BACKLOG, CannotListen

SOCKETS = "GATEWAYD_INHERITED_SOCKETS"
"""
The variable that tells a worker which descriptors are for which endpoints.
"""

ENDING = 15.0
"""
Seconds beyond C{drain_time} for a worker to end, before it is killed.
"""

HEALTHY = 10.0
"""
Seconds that a worker must have run for the waits between starts to begin anew.
"""


class Opened:
    """
    In place of the reactor, where endpoints are to listen: opens their sockets, and that is all.

    @ivar sockets: in the order of the endpoints.
    """

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return self._keep(opened, (interface, port), backlog)

    def listenSSL(
        self, port: int, factory: Any, context: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """
        See L{twisted.internet.interfaces.IReactorSSL}.
        """
        return self.listenTCP(port, factory, backlog, interface)

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> Any:
        """
        See L{twisted.internet.interfaces.IReactorUNIX}.
        """
        if os.path.exists(address):
            os.unlink(address)
        kept = self._keep(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), address, backlog)
        os.chmod(address, mode)
        return kept

    def _keep(self, opened: socket.socket, address: Any, backlog: int) -> socket.socket:
        try:
            opened.bind(address)
        except OSError:
            opened.close()
            raise
        opened.listen(backlog)
        opened.setblocking(False)
        self.sockets.append(opened)
        return opened


class Adopted:
    """
    In place of the reactor, where endpoints are to listen: takes sockets that are open already.
    """

    def __init__(self, reactor: Any, descriptors: Sequence[int]) -> None:
        """
        @param descriptors: in the order of the endpoints.
        """
        self._reactor = reactor
        self._descriptors = list(descriptors)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        return self._adopt(factory)

    def listenSSL(
        self, port: int, factory: Any, context: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """
        See L{twisted.internet.interfaces.IReactorSSL}.
        """
        return self._adopt(TLSMemoryBIOFactory(context, False, factory))

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> Any:
        """
        See L{twisted.internet.interfaces.IReactorUNIX}.
        """
        return self._adopt(factory)

    def _adopt(self, factory: Any) -> Any:
        descriptor = self._descriptors.pop(0)
        with socket.socket(fileno=os.dup(descriptor)) as shared:
            family = shared.family
        port = self._reactor.adoptStreamPort(descriptor, family, factory)
        os.close(descriptor)
        return port


def inherited(reactor: Any, environment: Mapping[str, str]) -> Any:
    """
    What a process listens by: the sockets it was given, or the reactor.
    """
    given = environment.get(SOCKETS)
    return reactor if given is None else Adopted(reactor, json.loads(given))


def orphaned(reactor: Any, environment: Mapping[str, str], leave: Callable[[], None]) -> None:
    """
    Have a worker end when the process that started it is no more.
    """
    if SOCKETS in environment:
        reactor.addReader(_Parent(reactor, leave))


class _Parent:
    """
    Our end of the pipe of which a worker's parent has the other, on standard input.
    """

    def __init__(self, reactor: Any, leave: Callable[[], None]) -> None:
        self._reactor = reactor
        self._leave = leave

    def fileno(self) -> int:
        """
        See L{twisted.internet.interfaces.IReadDescriptor}.
        """
        return 0

    def logPrefix(self) -> str:
        """
        See L{twisted.internet.interfaces.IReadDescriptor}.
        """
        return "parent"

    def doRead(self) -> None:
        """
        Nothing ever comes here but the end.
        """
        self._reactor.removeReader(self)
        self._leave()

    def connectionLost(self, reason: Failure) -> None:
        """
        The parent has ended.
        """
        self._leave()


class _Worker(ProcessProtocol):
    """
    One process.

    @ivar transport: the process.
    @ivar ended: fails when it has ended, with how.
    """

    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processExited(self, reason: Failure) -> None:
        """
        It is no more. (C{processEnded} would also wait for our end of the pipe, on which nobody
        can see that the other end is closed.)
        """
        self.transport.loseConnection()
        self.ended.errback(reason)


class Crew(Service):
    """
    The workers.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, random: Callable[[], float]) -> None:
        self._config = config
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._random = random
        self._opened = Opened()
        self._processes: dict[int, Any] = {}
        self._ended: dict[int, Deferred[None]] = {}
        self._stopping = False

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise CannotListen: somebody else does, or one may not.
        """
        super().privilegedStartService()
        for description in self._config.gateway.listen:
            failed: list[Failure] = []
            try:
                endpoint = serverFromString(self._opened, with_backlog(description, BACKLOG))
                endpoint.listen(None).addErrback(failed.append)
                if failed:
                    failed[0].raiseException()
            except (OSError, ValueError, AttributeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise CannotListen(
                    f"cannot listen on {description} for several workers: {reason}. Stop what "
                    "has it, or change [gateway] listen (or GATEWAY_GATEWAY_LISTEN)."
                ) from None

    def startService(self) -> None:
        """
        Start all workers.
        """
        super().startService()
        count = self._config.gateway.workers
        self._log.info("{count} workers at {ws}", count=count, ws=self._config.gateway.listen)
        for number in range(1, count + 1):
            self._start(number, Backoff(0.2, 10.0, self._random))

    def stopService(self) -> Deferred[None]:
        """
        Have them all drain and end.
        """
        super().stopService()
        self._stopping = True
        self.signal(signal.SIGTERM)
        patience = self._config.gateway.drain_time + ENDING
        killing = self._clock.callLater(patience, self.signal, signal.SIGKILL)
        ending: Deferred[Any] = gatherResults(list(self._ended.values()))

        def done(_: object) -> None:
            if killing.active():
                killing.cancel()
            for opened in self._opened.sockets:
                opened.close()

        return ending.addCallback(done)

    def reload(self) -> None:
        """
        Have them all read their keys anew.
        """
        self.signal(signal.SIGHUP)

    def signal(self, number: int) -> None:
        """
        Signal all workers.
        """
        for process in self._processes.values():
            process.signalProcess(number)

    def _start(self, number: int, backoff: Backoff) -> None:
        if self._stopping:
            return
        worker = _Worker()
        descriptors = [opened.fileno() for opened in self._opened.sockets]
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        arguments = ["--nodaemon", "--pidfile=", "gateway"]
        if self._config.path is not None:
            arguments += ["--config", os.path.abspath(self._config.path)]
        started = self._clock.seconds()
        self._processes[number] = self._reactor.spawnProcess(
            worker,
            sys.executable,
            command + arguments,
            env=self._environment(number, descriptors),
            childFDs={0: "w", 1: 1, 2: 2, **{each: each for each in descriptors}},
        )
        gone: Deferred[None] = Deferred()
        self._ended[number] = gone
        # Its result is a Failure, in good order or not.
        worker.ended.addErrback(self._over, number, started, backoff)
        worker.ended.addBoth(lambda _: gone.callback(None))

    def _environment(self, number: int, descriptors: Sequence[int]) -> dict[str, str]:
        gateway, http = self._config.gateway, self._config.http
        return {
            **os.environ,
            SOCKETS: json.dumps(list(descriptors)),
            "GATEWAY_GATEWAY_WORKERS": "1",
            "GATEWAY_GATEWAY_INSTANCE": f"{gateway.instance}-{number}",
            "GATEWAY_HTTP_LISTEN": "\n".join(beside(one, number - 1) for one in http.listen),
        }

    def _over(self, reason: Failure, number: int, started: float, backoff: Backoff) -> None:
        del self._processes[number]
        if self._stopping:
            return
        if self._clock.seconds() - started >= HEALTHY:
            backoff.reset()
        wait = backoff.next()
        code = None if reason.check(ProcessDone) else reason.value
        self._log.error(
            "worker {number} has ended ({how}); starting another in {wait:.1f} s",
            number=number,
            how="as asked to" if code is None else str(code),
            wait=wait,
        )
        self._clock.callLater(wait, self._start, number, backoff)


def beside(description: str, offset: int) -> str:
    """
    An endpoint C{offset} ports higher; of another kind than TCP, one of its own by its name.
    """
    if not offset:
        return description
    found = re.match(r"((?:haproxy:)*(?:tcp6?|ssl):(?:port=)?)(\d+)(.*)", description, re.DOTALL)
    if found is not None and int(found[2]):
        return f"{found[1]}{int(found[2]) + offset}{found[3]}"
    found = re.match(
        r"((?:haproxy:)*unix:(?:address=)?)((?:[^:\\]|\\.)+)(.*)", description, re.DOTALL
    )
    if found is not None:
        return f"{found[1]}{found[2]}.{offset + 1}{found[3]}"
    return description
