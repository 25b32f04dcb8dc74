"""
One AMQP connection and its channels: pika's Twisted adapter, made safe to depend on.

How pika misbehaves is known here and nowhere above: all that leaves is a L{LinkError} with a
sentence for an operator in it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from pika import frame
from pika.adapters import twisted_connection
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gatewayd.errors import GatewayError
from gatewayd.source.once import Once
from gatewayd.source.reasons import Account, Progress, explain
from gatewayd.source.salvage import without_headers

# pika reports every disconnect at WARNING or above, some with a traceback, and Python prints
# such records to stderr when nobody has configured logging. What matters of them is in our
# own log lines; an embedding application that configures logging still gets them all.
logging.getLogger("pika").addHandler(logging.NullHandler())

HEARTBEAT = 6
"""
Seconds; the broker sends a heartbeat every half of it.
"""

SILENCE = 4
"""
Half heartbeats without one byte received after which a connection is dead: 9 to 12 seconds.
"""

PARTING = 1.0
"""
Seconds that a disconnect may take to flush what is unsent.
"""


class LinkError(GatewayError):
    """
    RabbitMQ, or the way to it, failed.

    @ivar reason: one sentence for an operator; no password in it.
    @ivar code: AMQP's reply code, where the broker closed a channel or connection with one.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Link(twisted_connection.TwistedProtocolConnection):  # type: ignore[misc]
    """
    One connection, from TCP connect to connection lost.

    @ivar lost: happens when the connection is gone and pika has cleaned up.
    @ivar heard: when bytes last came, by the reactor's clock.
    @ivar blocked: the broker is short of memory or disk and takes nothing from us.
    """

    log = Logger()

    def __init__(self, reactor: Any, parameters: Any, account: Account) -> None:
        """
        @param parameters: pika's C{ConnectionParameters}.
        """
        super().__init__(parameters, custom_reactor=reactor)
        self.lost = Once()
        self.heard = 0.0
        self.blocked = False
        self._reactor = reactor
        self._account = account
        self._progress = Progress.NOWHERE
        self._cause: BaseException | None = None
        self._silence = 0
        self._watch = LoopingCall(self._listen)
        self._watch.clock = reactor
        self._parting: IDelayedCall | None = None
        self._impl._adapter_disconnect_stream = self._part
        self._impl._read_frame = self._read_frame
        self._impl.add_on_connection_blocked_callback(lambda *_: self._set_blocked(True))
        self._impl.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(False))

    def error(self, error: BaseException) -> LinkError:
        """
        What C{error}, met while using this connection, means to an operator. The connection's
        own end, where there was one, explains more than what it did to whoever was using it.
        """
        if isinstance(error, LinkError):
            return error
        cause = self._cause or error
        reason = explain(cause, self._account, self._progress)
        return LinkError(reason, getattr(cause, "reply_code", None))

    async def open(self) -> Channel:
        """
        Open a channel.

        @raise LinkError: the connection failed first.
        """
        with explained(self):
            # On a dead connection this raises, with one that dies it fails.
            return Channel(self, await self.channel())

    async def part(self, timeout: float) -> None:
        """
        Close channels and connection in good order, so that all that was sent has been taken;
        what has not worked after C{timeout} seconds is aborted.
        """
        try:
            if self._impl.is_open:
                self._impl.close()
            await self.lost.wait().addTimeout(timeout, self._reactor)
        except Exception:
            self.log.debug(
                "RabbitMQ at {address} did not say goodbye", address=self._account.address
            )
        self.abort()

    def abort(self, error: BaseException | None = None) -> None:
        """
        End the connection now, whatever is unsent. Idempotent.

        @param error: why, if the reason is ours.
        """
        if self._cause is None:
            self._cause = error
        if self.transport is not None and not self.lost.happened:
            self.transport.abortConnection()

    # What Twisted calls.

    def makeConnection(self, transport: Any) -> None:
        """
        Begin to watch, then to speak.
        """
        self._progress = Progress.CONNECTED
        # Acks and confirms are small and each is waited for.
        transport.setTcpNoDelay(True)
        # Not only against a peer that vanishes: pika has no time-out until it has negotiated
        # one, and afterwards needs up to twice (heartbeat + 5 s).
        watching = self._watch.start(HEARTBEAT / 2, now=False)
        watching.addErrback(lambda why: self.log.failure("The watch on RabbitMQ failed", why))
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Let pika parse it.
        """
        self._silence = 0
        self.heard = self._reactor.seconds()
        try:
            super().dataReceived(data)
        except Exception as error:
            self.abort(error)
        if self._impl.server_properties is not None:
            self._progress = Progress.SPEAKING

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Keep why, before pika forgets it: it lets Twisted's plain C{ConnectionDone} replace
        the reason that the broker gave.
        """
        if self._cause is None:
            self._cause = self._impl._error or reason.value
        if self._watch.running:
            self._watch.stop()
        if self._parting is not None and self._parting.active():
            self._parting.cancel()
        super().connectionLost(reason)
        self.lost.happen()

    # What pika calls, in place of its own.

    def _part(self) -> None:
        """
        Disconnect, and see to it: C{loseConnection} alone waits for ever for a peer that
        does not read, and under TLS for one that does not answer.
        """
        if self.transport is None or self._parting is not None:
            return
        self._cause = self._cause or self._impl._error
        self.transport.loseConnection()
        self._parting = self._reactor.callLater(PARTING, self.transport.abortConnection)

    def _read_frame(self) -> tuple[int, Any]:
        """
        Decode the next frame, if need be without the part that pika cannot decode.
        """
        buffer: bytes = self._impl._frame_buffer
        try:
            decoded: tuple[int, Any] = frame.decode_frame(buffer)
        except Exception:
            salvaged = without_headers(buffer)
            if salvaged is None:
                raise
            return salvaged
        return decoded

    def _listen(self) -> None:
        """
        Count in turns of the reactor, not in seconds: after this process was stalled, the
        timers run before the sockets are read.
        """
        self._silence += 1
        if self._silence >= SILENCE:
            self.abort(TimeoutError(f"nothing heard for {SILENCE * HEARTBEAT // 2} s"))

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked


class Channel:
    """
    One channel. Its methods fail in one way, where pika's have three.

    @ivar link: the connection it is on.
    @ivar closed: happens when the channel is, by whomever.
    """

    def __init__(self, link: Link, raw: Any) -> None:
        self.link = link
        self.closed = Once()
        self._raw = raw
        self._cause: BaseException | None = None
        # A callback with an exception as its result, not an errback.
        raw.on_closed.addBoth(self._ended)

    @property
    def usable(self) -> bool:
        """
        Whether what is sent on it now has a chance to arrive.
        """
        return bool(self._raw.is_open) and not self.link.lost.happened

    async def call(self, method: str, **arguments: Any) -> Any:
        """
        Call an AMQP method by pika's name for it and wait for its answer.

        @raise LinkError: it was refused, or the channel or connection ended first.
        """
        with explained(self):
            return await getattr(self._raw, method)(**arguments)

    def tell(self, method: str, *arguments: Any) -> None:
        """
        Send a method that has no answer. On a channel that is not open this does nothing:
        the broker has taken back whatever it might be about.
        """
        if self.usable:
            getattr(self._raw, method)(*arguments)

    def on_return(self, returned: Callable[[], None]) -> None:
        """
        Call C{returned} for each message that the broker could not route.
        """
        self._raw.add_on_return_callback(lambda _: returned())

    def error(self, error: BaseException) -> LinkError:
        """
        What C{error}, met while using this channel, means to an operator.
        """
        return self.link.error(self._cause or error)

    def _ended(self, cause: object) -> None:
        if isinstance(cause, Failure):
            self._cause = cause.value
        elif isinstance(cause, BaseException):
            self._cause = cause
        self.closed.happen()


@contextmanager
def explained(user: Link | Channel) -> Iterator[None]:
    """
    Turn whatever fails in here into a L{LinkError}, but for being cancelled.
    """
    try:
        yield
    except (CancelledError, LinkError):
        raise
    except ConnectingCancelledError:
        # An endpoint that is cancelled fails in a way of its own.
        raise CancelledError from None
    except Exception as error:
        raise user.error(error) from None
