"""
Where the house can be taken apart: every seam, two to five verbs each, and no logic.

An implementation refers to these docstrings instead of repeating them, and passes the
contract suite in C{tests/contracts} that carries the seam's name.
"""

# zope interfaces declare methods without self.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import Any, Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from gatewayd.closing import Closing
from gatewayd.model import Entry, Event, Grant, Position, Principal


class IDelivery(Interface):
    """
    One message from a source. Exactly one of its three verbs is called, exactly once;
    none of them raises, whatever has become of the connection it came by.
    """

    body: bytes = Attribute("UTF-8 JSON (protocol, section 2).")
    routing_key: str = Attribute("The event's name where the body gives none.")
    message_id: str | None = Attribute("The publisher's idempotency key.")
    redelivered: bool = Attribute("Whether some consumer may have seen it before.")
    receipt: str | None = Attribute(
        "An id of this very delivery: its consumer's, which is like no other, a colon, and a "
        "number. L{None} from a source that delivers nothing twice."
    )
    live: bool = Attribute(
        "Whether it can still be settled. If not, it will be delivered again, and is not to be "
        "published now."
    )

    def ack(position: Position | None) -> None:
        """
        It is in the log at C{position} (L{None}: ephemeral) and published to every instance.
        """

    def reject(reason: str) -> None:
        """
        It can never become an event: put it where a person will find it, with C{reason}.
        """

    def requeue() -> None:
        """
        It was not published and will not be by this instance: let another have it.
        """


class IEventReceiver(Interface):
    """
    Where a source puts what it took.
    """

    def delivered(delivery: IDelivery) -> None:
        """
        Take charge of one message. Never raises, never waits.
        """

    def confirmed(receipts: Sequence[str]) -> None:
        """
        The broker has been told that these are done, and has said that it knows: it will not
        deliver them again.
        """


class IReadiness(Interface):
    """
    Something the gateway depends on.
    """

    name: str = Attribute("Its key in /health: C{rabbitmq} or C{redis}.")

    def status() -> dict[str, Any]:
        """
        JSON for C{/health}. C{status} is C{ok}; C{connecting} (not yet, or not again);
        or C{none}: not configured, and so not missed. Beside C{connecting}, C{error} says
        why in one sentence, with no password in it.
        """


class IEventSource(IReadiness):
    """
    Where events come from.
    """

    def start(receiver: IEventReceiver) -> None:
        """
        Begin to deliver, in order. Whatever is not there yet is waited for and retried;
        this never raises for it.
        """

    def post(body: bytes, key: str) -> Deferred[None]:
        """
        Publish a message where the microservices do, so that it will be delivered to some
        instance, if it does not get lost.

        @param key: its routing key.
        @raise GatewayError: it was not taken.
        """

    def pause() -> Deferred[None]:
        """
        Take nothing more. Fires when no further message will be delivered; those delivered
        can still be settled.
        """

    def stop() -> Deferred[None]:
        """
        Flush what was settled, give the rest back, disconnect. Fires when done, at most a
        few seconds later; calling it twice is harmless.
        """


class IBusListener(Interface):
    """
    What an instance does with what it hears.
    """

    def heard(entry: Entry, fresh: bool) -> None:
        """
        The next event, in the log's order, each once. C{fresh} is false for those read from
        the log at start, before this instance served anybody. Never raises.
        """

    def begun(position: Position, complete: bool) -> None:
        """
        The log is known from C{position} on, exclusive: what was before cannot be replayed.
        Said at start, and again when the log was wiped or trimmed under us; then C{complete}
        is false if entries may have existed that this instance never heard.
        """


class IEventBus(IReadiness):
    """
    The one ordered log that all instances share, and the channel that tells of it.
    """

    head: Position = Attribute("The newest position heard (L{ORIGIN} before any).")

    def start(listener: IBusListener) -> None:
        """
        Begin to listen: first what the log holds, then what comes. Like
        L{IEventSource.start}, never raises for what is not there yet.
        """

    def filled() -> Deferred[None]:
        """
        Fires once the listener has heard what the log held when this instance started.
        """

    def publish(
        events: Sequence[Event], settled: Sequence[str] = ()
    ) -> Deferred[list[Position | None]]:
        """
        Put C{events} in the log in this order, tell every instance, and answer with their
        positions: L{None} for an ephemeral one, the first one's for one whose uid was
        published before. Waits, without limit, for a bus that is away; only one call may be
        outstanding, so that order and memory are the caller's to keep.

        An event with a L{provenance<gatewayd.model.Provenance>} is remembered until its uid is
        C{settled}. One that is redelivered and equals one which a consumer before this one
        left unsettled is that one, and not published again.

        @param settled: uids of events that no broker will deliver again.

        @raise Stopped: the bus was stopped first; the outcome is unknown.
        @raise Superseded: some have a provenance, and a consumer after theirs has published
            already: it was given the same events. None of them is published by this call,
            unless it was before.
        """

    def stop() -> Deferred[None]:
        """
        Disconnect. Outstanding publishes fail with L{Stopped}.
        """


class IBackchannel(Interface):
    """
    What instances say to each other beside events. It is told once, to whoever is there.
    """

    told: Callable[[str, bytes], None] = Attribute(
        "Takes the kind and the payload of whatever any instance tells, this one included."
    )

    def tell(kind: str, payload: bytes) -> Deferred[bool]:
        """
        Tell every instance, this one included.

        @param kind: an identifier, in ASCII.
        @return: whether it was told. Never fails.
        """


class IRoster(Interface):
    """
    The instances of this cluster, a row of facts each.
    """

    def announce(row: dict[str, Any]) -> Deferred[None]:
        """
        Show C{row} (JSON; its C{instance} is the key) to the others for a few seconds.
        Fires in any case.
        """

    def withdraw(instance: str) -> Deferred[None]:
        """
        Show no row of this instance any more. Fires in any case.
        """

    def rows() -> Deferred[list[dict[str, Any]]]:
        """
        The rows announced lately, by all instances. Empty when nobody can be asked.
        """


class IAuthenticator(Interface):
    """
    Tells whom a token speaks for.
    """

    def authenticate(token: object) -> Deferred[Principal]:
        """
        @param token: what the client sent, of whatever JSON type.
        @raise TokenRefused: always this, for anything that is not a valid token.
        """


class IGuildAuthority(Interface):
    """
    Tells which guilds a principal may see.
    """

    def allowed(principal: Principal, guilds: Sequence[str]) -> Deferred[Grant]:
        """
        Divide C{guilds} into granted and denied. Fails closed: what cannot be asked is
        denied as C{unavailable}, so this never fails.
        """

    def forget(user: str | None, guild: str) -> None:
        """
        What was known about a user in a guild, or about everybody in it, is not so any more.
        """


class ISink(Interface):
    """
    One client's connection, seen from inside.
    """

    fd: int = Attribute(
        "The file descriptor to which whole frames may be written now, past everything; -1 while "
        "there is none: something waits to be sent, or is to be encrypted, or the end is near."
    )
    live: bool = Attribute(
        "Whether broadcasts may be under way to it, behind which all else has to queue."
    )

    deflates: bool = Attribute("Whether its client takes compressed frames.")

    def send(frame: bytes) -> None:
        """
        Write one or more whole WebSocket frames. On a connection that is closing or over its
        bound this does nothing but, in the second case, close it. Never raises.
        """

    def keep(rest: bytes) -> None:
        """
        Send C{rest}, which is what L{fd} did not take of what was written to it.
        """

    def say(frame: bytes) -> None:
        """
        Like L{send}, but behind all that is being broadcast to it.
        """

    def backlog() -> int:
        """
        Bytes accepted and not yet taken by the kernel.
        """

    def pull(more: Callable[[], bool]) -> None:
        """
        Call C{more()} each time all that was sent has left for the kernel, until it answers
        false or the connection ends. It may send.
        """

    def close(closing: Closing) -> None:
        """
        Close with this code, and abort when the close frame cannot leave. Idempotent.
        """


class IBroadcaster(Interface):
    """
    Writes one frame to many.
    """

    def broadcast(frame: bytes, sinks: Sequence[ISink], published: float = 0.0) -> None:
        """
        Write C{frame} to each, in order with all else that is broadcast or said to them, now or
        as soon as the reactor has a turn for it. One that fails or is too slow harms no other.
        Never raises.

        @param sinks: each once. They are the broadcaster's to keep.
        @param published: seconds since the epoch, to tell the time it took; 0 for what nobody
            measures.
        """


class IOperations(Interface):
    """
    What an operator may ask of the gateway. HTTP puts it on the wire.
    """

    def health() -> dict[str, Any]:
        """
        The JSON of C{/health} (protocol, section 4).
        """

    def ready() -> tuple[bool, str]:
        """
        Whether a load balancer should send clients here, and why not.
        """

    def stats() -> Deferred[dict[str, Any]]:
        """
        The JSON of C{/stats}. Never fails.
        """

    def exposition() -> tuple[bytes, str]:
        """
        The metrics in Prometheus' format, and their content type.
        """

    def publish(bodies: Sequence[bytes]) -> Deferred[list[Position | None]]:
        """
        Publish event envelopes, all or none, in order. Fires with their positions.

        @raise BadEnvelopes: some cannot become events; none was published.
        @raise Busy: the bus is away or too much is in hand already; try later.
        @raise Stopped: this instance is shutting down.
        """

    def user(user: str) -> Deferred[dict[str, Any]]:
        """
        The sessions of one user.
        """

    def guild(guild: str) -> Deferred[dict[str, Any]]:
        """
        The sessions subscribed to one guild.
        """

    def disconnect(user: str) -> Deferred[dict[str, Any]]:
        """
        Close every session of a user with 4022; the answer says how many.
        """

    def drain() -> None:
        """
        Begin to shut down in good order.
        """
