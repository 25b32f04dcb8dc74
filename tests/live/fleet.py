"""
The gateways of one test: started together, stopped together, and judged by their logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Sequence

from tests.live.daemon import Daemon
from tests.live.waiting import together

_STOPPED_WELL = (0, -15)
"""
What twistd returns for SIGTERM: it ends by the signal, having stopped in good order.
"""


class Located(Protocol):
    """
    Something with a URL: a broker, or a proxy in front of one.
    """

    @property
    def url(self) -> str:
        """
        Where it is.
        """


def _url(server: Located | str | None) -> str:
    if server is None:
        return ""
    return server if isinstance(server, str) else server.url


class Fleet:
    """
    What the C{gateway} fixture gives: call it to start an instance.

    @ivar daemons: all that were started, in their order.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.daemons: list[Daemon] = []
        self._allowed: list[str] = []

    def allow(self, *patterns: str) -> None:
        """
        Let log entries pass, in which one of these regular expressions is found, although they
        look like a bug.
        """
        self._allowed += patterns

    async def __call__(
        self,
        *,
        rabbitmq: Located | str | None = None,
        redis: Located | str | None = None,
        until: str | None = "ready",
        timeout: float = 20.0,
        allow: Sequence[str] = (),
        **options: Any,
    ) -> Daemon:
        """
        Start one instance, of a name of its own.

        @param until: as of L{Daemon.start}, and C{timeout} too.
        @param allow: as of L{Fleet.allow}.
        @param options: more for L{Daemon}, such as C{config}.
        @raise DaemonFailed: it did not start.
        """
        self.allow(*allow)
        name = options.pop("name", f"gateway-{len(self.daemons) + 1}")
        directory = self.directory / name
        directory.mkdir()
        daemon = Daemon(directory, name, rabbitmq=_url(rabbitmq), redis=_url(redis), **options)
        self.daemons.append(daemon)
        await daemon.start(until, timeout)
        return daemon

    async def many(self, count: int, **options: Any) -> list[Daemon]:
        """
        Start C{count} instances at the same time, all with the same C{options}.
        """
        return await together(*(self(**options) for _ in range(count)))

    async def end(self) -> None:
        """
        Stop all that run, in good order.

        @raise AssertionError: one did not stop, or had ended by itself, or logged what looks
            like a bug.
        """
        faults: list[str] = []

        async def stop(daemon: Daemon) -> None:
            if daemon.died is not None:
                faults.append(f"{daemon.name} ended by itself with {daemon.died}")
            elif daemon.running:
                try:
                    code = await daemon.stop()
                except AssertionError as error:
                    faults.append(str(error))
                else:
                    if code not in _STOPPED_WELL:
                        faults.append(f"{daemon.name} stopped with {code}")
            await daemon.close()
            for entry in daemon.complaints(self._allowed):
                faults.append(f"{daemon.name} logged:\n{entry}")

        await together(*(stop(daemon) for daemon in self.daemons))
        if faults:
            raise AssertionError("\n".join(faults))
