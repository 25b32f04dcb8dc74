"""
What can go wrong, by whose fault.

Worlds turn their library's errors into these at their own edge, so nothing above them
depends on which broker or token library is in use.
"""

from __future__ import annotations

from typing import Mapping, Sequence


class GatewayError(Exception):
    """
    The root of every error this package raises on purpose.
    """


class BadEnvelope(GatewayError):
    """
    A microservice published something that cannot become an event.

    @ivar reason: one sentence for the person who published it; it holds names and
        positions, never the content.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadEnvelopes(GatewayError):
    """
    Of several envelopes published together, some cannot become events.

    @ivar reasons: by index in what was published.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(f"[{index}] {why}" for index, why in reasons.items()))
        self.reasons = dict(reasons)


class Busy(GatewayError):
    """
    Not now: too much is in hand, or what would be needed is away.
    """


class BadCommand(GatewayError):
    """
    A client sent a message that is JSON but not a command we know.

    @ivar code: the word for the client's C{error} message.
    @ivar reason: one sentence for the person who wrote the client.
    @ivar event: the name the client used, where it gave one.
    """

    def __init__(self, code: str, reason: str, event: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.event = event


class NotJSON(GatewayError):
    """
    A client sent what is not a JSON object: nothing to answer, the connection closes.
    """


class TokenRefused(GatewayError):
    """
    A token did not hold.

    @ivar reason: one sentence that is safe to show the client; never part of the token.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AuthorityUnavailable(GatewayError):
    """
    The guild authority cannot answer now, which means I{no}.
    """


class Stopped(GatewayError):
    """
    The part that was asked has been stopped, and will not do it any more.
    """


class Superseded(GatewayError):
    """
    A consumer of the broker was about to publish although another has taken over from it, and
    with that all that it had in hand.

    @ivar consumer: the one that is over.
    """

    def __init__(self, consumer: str) -> None:
        super().__init__(f"consumer {consumer} has a successor")
        self.consumer = consumer


class ConfigError(GatewayError):
    """
    The configuration has faults; all of them are here.

    @ivar faults: one line each: file, section, key, and what was expected.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
