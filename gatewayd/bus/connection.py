"""
One connection to Redis: txredisapi's protocols, cut down to bytes in and bytes out.

This file is txredisapi's and hiredis' one home. Of txredisapi only the protocols are used:
its factories hold commands, without bound, while Redis is away and send them when it is
back, give up for good after a refused login, and never look after a subscription again.
"""

from __future__ import annotations

from typing import Any, Callable

import hiredis
import txredisapi
from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gatewayd.errors import GatewayError

if txredisapi.hiredis is None:  # pragma: no cover
    # Its own parser takes sixty microseconds for a message where hiredis takes three.
    raise ImportError("txredisapi did not find hiredis")


class Lost(GatewayError):
    """
    The connection ended before an answer came: whether Redis did what it was asked is
    unknown.
    """


class Refused(GatewayError):
    """
    Redis answered with an error.

    @ivar kind: its first word, such as C{READONLY}.
    """

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.kind = answer.partition(" ")[0]


class _Plain:
    """
    What our two protocols change in txredisapi's.

    @ivar silence: reset whenever something comes; whoever watches counts it up.
    @ivar end: why the connection ended; L{None} while it has not.
    """

    log = Logger()

    def __init__(self) -> None:
        # Without these it makes numbers and strings of whatever looks like one.
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self.silence = 0
        self.end: str | None = None
        self._why: str | None = None

    def connectionMade(self) -> None:
        no_delay = getattr(self.transport, "setTcpNoDelay", None)  # type: ignore[attr-defined]
        if no_delay is not None:
            # The tail of a large batch would otherwise wait for the acknowledgement of its
            # beginning, which the other side delays.
            no_delay(True)
        super().connectionMade()  # type: ignore[misc]

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.silence = 0
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except txredisapi.InvalidData as error:
            self.abort(f"it does not speak the protocol of Redis: {error}")

    def connectionLost(self, reason: Failure) -> None:
        self.end = self._why or sentence_of(reason.value)
        super().connectionLost(reason)  # type: ignore[misc]

    def tryConvertData(self, data: Any) -> Any:
        return data

    def _build_command(self, *command: bytes | str | int, **_: object) -> bytes:
        # Twenty times as fast as txredisapi's own.
        packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
        return packed

    async def ask(self, *command: bytes | str | int) -> Any:
        """
        Send a command, and wait for the answer.

        @raise Lost: the connection ended first.
        @raise Refused: Redis answered with an error.
        """
        try:
            return await self.execute_command(*command)  # type: ignore[attr-defined]
        except txredisapi.ResponseError as error:
            raise Refused(str(error)) from None
        except txredisapi.ConnectionError as error:
            raise Lost(str(error)) from None

    def abort(self, why: str) -> None:
        """
        End the connection now, if it has not ended; L{gone} fires a little later.
        """
        if self.end is None:
            self._why = self._why or why
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def gone(self) -> Deferred[None]:
        """
        Fires when the connection has ended.
        """
        if self.end is not None:
            return succeed(None)
        gone: Deferred[None] = self.whenDisconnected()  # type: ignore[attr-defined]
        return gone


class Connection(_Plain, txredisapi.RedisProtocol):  # type: ignore[misc]
    """
    A connection for commands.
    """


class Subscription(_Plain, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """
    A connection that listens to a channel. Of commands it takes only C{PING}.
    """

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        super().__init__()
        self._heard = heard

    async def subscribe(self, channel: str) -> None:
        """
        Listen to C{channel}. To be called once: a C{SUBSCRIBE} of several is answered
        several times, and txredisapi takes the second answer for that of the next command.
        """
        await self.ask("SUBSCRIBE", channel)

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        """
        Pass on what the channel brought.
        """
        try:
            self._heard(message)
        except Exception:
            # It would end the connection, and lose what else has arrived with this message.
            self.log.failure("A message on the channel could not be taken")


def sentence_of(error: BaseException | None) -> str:
    """
    What an error of the network says, for the log and for C{/health}.
    """
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        # A list of triples: library, function, reason.
        return f"TLS: {error.args[0][0][-1]}"
    return (str(error) or type(error).__name__).rstrip(".")
