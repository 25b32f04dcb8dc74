"""
JSON Web Tokens (RFC 7519, RFC 8725), by PyJWT.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode
from typing import Any, Sequence

import jwt
import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from gatewayd.auth.keys import UNVERIFIED, HeldKeys, KeySource
from gatewayd.config.values import ASYMMETRIC, SYMMETRIC
from gatewayd.errors import TokenRefused
from gatewayd.interfaces import IAuthenticator
from gatewayd.model import Principal

LONGEST = 8192
"""
Characters. PyJWT decodes before it verifies, and would spend a third of a second on 5 MB.
"""

FARTHEST = 1e12
"""
Seconds since the epoch. What claims to hold for longer is taken to end then, so that times
are always numbers to count with.
"""


class Head(msgspec.Struct, frozen=True):
    """
    What a token says of itself before it is believed anything.
    """

    alg: str
    kid: str | None = None


_heads = msgspec.json.Decoder(Head)


@implementer(IAuthenticator)
class TokenAuthenticator:
    """
    Checks tokens. What a token says of its own algorithm and key only chooses among the
    configured ones, and each key is for algorithms of its own kind alone.
    """

    def __init__(
        self,
        key: str | KeySource,
        algorithms: Sequence[str],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 0.0,
    ) -> None:
        """
        @param key: the shared secret, or a public key in PEM, or where keys are from.
        @param leeway: seconds.
        @raise ConfigError: the key is not what the algorithms need.
        """
        unknown = set(algorithms).difference(SYMMETRIC, ASYMMETRIC)
        if unknown or not algorithms:
            raise ValueError(f"expected some of {', '.join(SYMMETRIC + ASYMMETRIC)}")
        self._algorithms = frozenset(algorithms)
        self._keys = HeldKeys.of(key, algorithms) if isinstance(key, str) else key
        self._arguments: dict[str, Any] = {"leeway": leeway}
        required = ["exp", "sub"]
        if issuer is not None:
            self._arguments["issuer"] = issuer
            required.append("iss")
        if audience is not None:
            self._arguments["audience"] = audience
            required.append("aud")
        # Without a configured audience PyJWT would refuse every token that names one.
        self._options: Any = {"require": required, "verify_aud": audience is not None}

    def authenticate(self, token: object) -> Deferred[Principal]:
        """
        See L{IAuthenticator.authenticate}.
        """
        try:
            text, head = self._read(token)
            principal = self._checked(text, head)
        except TokenRefused:
            return fail()
        if principal is not None:
            return succeed(principal)
        sought = self._keys.sought(head.alg, head.kid)
        return sought.addCallback(lambda _: self.principal(text))

    def principal(self, token: object) -> Principal:
        """
        Whom C{token} speaks for, by the keys that are known now.

        @raise TokenRefused: it does not hold.
        """
        principal = self._checked(*self._read(token))
        if principal is None:
            raise TokenRefused(UNVERIFIED)
        return principal

    def _read(self, token: object) -> tuple[str, Head]:
        if not isinstance(token, str) or not token:
            raise TokenRefused("a token is needed, as a string")
        if len(token) > LONGEST:
            raise TokenRefused("it is too long")
        encoded = token.partition(".")[0]
        try:
            # Only to find its key. PyJWT reads it again, strictly.
            head = _heads.decode(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        except (ValueError, RecursionError):
            raise TokenRefused(UNVERIFIED) from None
        if head.alg not in self._algorithms:
            raise TokenRefused(UNVERIFIED)
        return token, head

    def _checked(self, token: str, head: Head) -> Principal | None:
        """
        Whom it speaks for; L{None} if no key that is known verifies it.
        """
        for key in self._keys.known(head.alg, head.kid):
            try:
                claims = jwt.decode(
                    token, key.material, key.algorithms, options=self._options, **self._arguments
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise TokenRefused("it has expired") from None
            except jwt.ImmatureSignatureError:
                raise TokenRefused("it does not hold yet") from None
            except jwt.InvalidIssuerError:
                raise TokenRefused("its iss is not the one configured") from None
            except jwt.InvalidAudienceError:
                raise TokenRefused("its aud is not the one configured") from None
            except jwt.MissingRequiredClaimError as error:
                raise TokenRefused(f"it has no {error.claim}") from None
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
                # ValueError: a lone surrogate, or a number beyond reason, gets past PyJWT's own.
                raise TokenRefused(UNVERIFIED) from None
            return _principal(claims)
        return None


def _principal(claims: dict[str, Any]) -> Principal:
    user = claims["sub"]
    if not isinstance(user, str) or not 0 < len(user) <= 64:
        raise TokenRefused("its sub is no user id")
    token_id = claims.get("jti")
    return Principal(
        user=user,
        # PyJWT takes an exp that int() takes, a string included.
        expires=_seconds(claims["exp"]) or 0.0,
        guilds=_guilds(claims.get("guilds")),
        issued=_seconds(claims.get("iat")),
        token_id=token_id if isinstance(token_id, str) else None,
    )


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except OverflowError:
        # An integer of over three hundred digits.
        return FARTHEST if value > 0 else None
    except (TypeError, ValueError):
        return None
    return None if math.isnan(seconds) else min(seconds, FARTHEST)


def _guilds(claim: Any) -> frozenset[str] | None:
    if claim is None:
        return None
    if not isinstance(claim, list):
        raise TokenRefused("its guilds are no list")
    if not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in claim):
        raise TokenRefused("its guilds are not all ids")
    return frozenset(map(str, claim))
