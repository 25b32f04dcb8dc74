"""
The tokens with which clients identify, and what it costs to check one.
"""

from __future__ import annotations

import json
import time
from typing import Callable, Iterator, Sequence

from gatewayd.auth.minting import mint
from gatewayd.auth.tokens import TokenAuthenticator

SECRET = "the secret that only these benchmarks share"
_ALGORITHM = "HS256"
_LIFETIME = 24 * 3600.0


def identifications(count: int, guilds: Callable[[int], Sequence[str]]) -> Iterator[str]:
    """
    What C{count} clients, each a user of its own, say to identify.

    @param guilds: tells those of a client.
    """
    now = time.time()
    for number in range(count):
        user, theirs = f"u{number}", guilds(number)
        token = mint(SECRET, _ALGORITHM, user=user, guilds=theirs, now=now, lifetime=_LIFETIME)
        data = {"userId": user, "token": token, "guildIds": theirs}
        yield json.dumps({"event": "identify", "data": data}, separators=(",", ":"))


def verification_cost(lines: Sequence[str], patience: float = 0.5) -> float:
    """
    Seconds of CPU that it takes to check a token, alone on its core.

    @param lines: some of L{identifications}.
    @param patience: about how long to look.
    """
    authenticator = TokenAuthenticator(SECRET, [_ALGORITHM])
    tokens = [json.loads(line)["data"]["token"] for line in lines]
    best = float("inf")
    until = time.monotonic() + patience
    while time.monotonic() < until:
        began = time.process_time()
        for token in tokens:
            authenticator.principal(token)
        best = min(best, (time.process_time() - began) / len(tokens))
    return best
