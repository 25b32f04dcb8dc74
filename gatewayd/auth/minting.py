"""
Makes the tokens that this package checks, for development and for tests of a set-up. In
production the platform's own login service does this (RFC 7519).
"""

from __future__ import annotations

from typing import Any, Sequence

import jwt


def mint(
    secret: str,
    algorithm: str,
    *,
    user: str,
    guilds: Sequence[str],
    now: float,
    lifetime: float,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """
    A signed token for C{user} that grants C{guilds}.

    @param algorithm: one of L{gatewayd.config.values.SYMMETRIC}.
    @param now: seconds since the epoch; C{iat} is this, cut to whole seconds.
    @param lifetime: seconds from C{iat} to C{exp}.
    """
    issued = int(now)
    claims: dict[str, Any] = {
        "sub": user,
        "guilds": list(guilds),
        "iat": issued,
        "exp": issued + int(lifetime),
    }
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    return jwt.encode(claims, secret, algorithm=algorithm)
