"""
C{twistd gateway}: the process around a L{Gateway}. Here are the one reactor of the house, the
signals, and what is told to whoever started it when it cannot start.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from random import random
from types import FrameType
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, Logger
from twisted.python import usage

from gatewayd import logs
from gatewayd.config import Config, read, warnings
from gatewayd.errors import ConfigError, GatewayError

WRONG_CONFIGURATION = 2
CANNOT_START = 1


class Options(usage.Options):
    """
    What C{twistd gateway} takes.
    """

    synopsis = "[--config FILE]"
    optParameters: ClassVar[list[list[Any]]] = [
        [
            "config",
            "c",
            None,
            "The ini file. Without one there are the defaults, and the environment: every key "
            "can be given there as GATEWAY_SECTION_KEY, which wins over the file.",
        ]
    ]


class Daemon(MultiService):
    """
    The process: it knows what becomes of signals, and of a gateway that cannot start.
    """

    _log = Logger(namespace="gatewayd")

    def __init__(self, reactor: Any, config: Config, own_log: bool) -> None:
        """
        @param own_log: whether nobody has told twistd where to log.
        """
        super().__init__()
        self._reactor = reactor
        self._leaving = False
        self._writer = logs.Writer(logs.stdout())
        self._observer = None
        if own_log:
            level = config.gateway.log_level
            self._observer = logs.observer(level, logs.stdout(), os.environ, self._writer)

    def setServiceParent(self, parent: Any) -> None:
        """
        Be the service of an application, and log for it. (twistd asks the application for an
        observer, and has none of its own that would do.)
        """
        super().setServiceParent(parent)
        if self._observer is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._observer)
            self._reactor.addSystemEventTrigger("after", "shutdown", self._writer.close)

    def privilegedStartService(self) -> None:
        """
        Listen, or say why not and end with exit code 1.
        """
        try:
            super().privilegedStartService()
        except GatewayError as error:
            self._log.critical("gatewayd does not start: {error}", error=error)
            self._writer.close()
            raise SystemExit(CANNOT_START) from None

    def startService(self) -> None:
        """
        Serve.
        """
        super().startService()
        # When the reactor runs it has put its own in place, with which a process that was
        # asked to stop, and did, ends by the signal instead of with 0.
        self._reactor.callWhenRunning(self._catch)

    def _catch(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGHUP, self._hung_up)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.leave, signal.Signals(number).name)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        """
        What SIGHUP is for: keys are read anew, everything else stays as it was at the start.
        """
        self._log.info("SIGHUP: reading the keys anew")
        for service in self:
            service.reload()

    def leave(self, why: str = "an operator") -> None:
        """
        Stop in good order; asked a second time, at once.
        """
        if self._leaving:
            self._log.warn("{why} asked again: stopping without a drain", why=why)
            self._writer.close()
            self._reactor.callLater(0, os._exit, CANNOT_START)
            return
        self._leaving = True
        self._log.info("stopping, asked to by {why}", why=why)
        self._reactor.stop()

    def fail(self) -> None:
        """
        Stop in good order, and end with exit code 1: something is wrong that will not mend
        itself here, and a new process may be better off.
        """
        self._reactor.addSystemEventTrigger("after", "shutdown", self._end_failed)
        self.leave("itself, having failed")

    def _end_failed(self) -> None:
        # twistd has no way to end with a code of ours.
        self._writer.close()
        os._exit(CANNOT_START)


def makeService(options: Options) -> IService:
    """
    The service that C{twistd} is to run. Ends the process where there is none to be made.
    """
    from twisted.internet import reactor as chosen

    # To a type checker it is a module.
    reactor: Any = chosen
    config = _configuration(options["config"])
    # Twisted's timers go by the wall clock: set an hour ahead, all of them would be due at
    # once, and set back they would not be for an hour (twisted#2424).
    reactor.seconds = time.monotonic
    _raise_limits()
    daemon = Daemon(reactor, config, _logs_by_itself(options.parent))
    return _composed(config, reactor, daemon)


def _logs_by_itself(twistd: Any) -> bool:
    """
    Whether the options of twistd leave it to us: in the foreground, and no log named.
    """
    given = twistd or {}
    elsewhere = any(given.get(name) for name in ("logger", "logfile", "syslog"))
    return bool(given.get("nodaemon")) and not elsewhere


def _composed(config: Config, reactor: Any, daemon: Daemon) -> IService:
    # Not before: it imports everything, and wrong configurations are told without that.
    from gatewayd.service import Gateway
    from gatewayd.workers import Crew, inherited, orphaned

    service: Any
    try:
        if config.gateway.workers > 1:
            service = Crew(config, reactor, random)
        else:
            listening = inherited(reactor, os.environ)
            service = Gateway(config, reactor, daemon.leave, daemon.fail, listening)
            orphaned(reactor, os.environ, daemon.leave)
    except GatewayError as error:
        raise _told([str(error)], CANNOT_START) from None
    service.setServiceParent(daemon)
    return daemon


def _configuration(path: str | None) -> Config:
    try:
        config = read(path, os.environ)
    except ConfigError as error:
        raise _told(error.faults, WRONG_CONFIGURATION) from None
    for warning in warnings(config, os.environ):
        sys.stderr.write(f"gatewayd: warning: {warning}\n")
    return config


def _told(sentences: Any, code: int) -> SystemExit:
    for sentence in sentences:
        sys.stderr.write(f"gatewayd: {sentence}\n")
    return SystemExit(code)


def _raise_limits() -> None:
    """
    Every connection is a file, and the usual limit of 1024 is there for programs that use
    select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
