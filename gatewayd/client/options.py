"""
What an application decides about its client.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import field, frozen

MAX_ID = 64


@frozen(kw_only=True)
class Timing:
    """
    How long a client waits for what. All in seconds.

    @ivar connect_timeout: for the socket and its upgrade.
    @ivar ready_timeout: for the gateway's C{ready} on an open socket.
    @ivar identify_timeout: for the answer to C{identify}.
    @ivar token_timeout: for the application's token function.
    @ivar probe_timeout: for any word from a gateway that has fallen silent.
    @ivar min_delay: the first bound of the wait between attempts.
    @ivar max_delay: the bound that it never exceeds.
    @ivar later_delay: the least wait after a close that asks for one: 4008 and 4023.
    @ivar stable: how long a session must have lived for the next wait to be a first one.
    """

    connect_timeout: float = 10.0
    ready_timeout: float = 10.0
    identify_timeout: float = 15.0
    token_timeout: float = 10.0
    probe_timeout: float = 5.0
    min_delay: float = 1.0
    max_delay: float = 30.0
    later_delay: float = 5.0
    stable: float = 10.0


def checked_id(value: object) -> str:
    """
    C{value}, if it can be an id.

    @raise ValueError: it cannot.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise ValueError(f"an id is a string of 1 to {MAX_ID} characters, not {value!r:.80}")
    return value


def checked_url(url: str) -> str:
    """
    C{url}, if a WebSocket client can connect to it.

    @raise ValueError: it cannot.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"expected a URL such as wss://gateway.example.com/, not {url!r:.80}")
    return url


@frozen(kw_only=True)
class Identity:
    """
    What the client says of itself in C{identify}.

    @ivar token: L{None} where a function is asked for each attempt's.
    @ivar events: names, or prefixes such as C{message.*}, C{!} leaving out; empty for all.
    @ivar client: free text for the gateway's C{/stats}.
    """

    user_id: str = field(converter=checked_id)
    token: str | None = field(default=None, repr=False)
    events: tuple[str, ...] = ()
    client: str | None = None
