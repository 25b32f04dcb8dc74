"""
JSON Web Tokens (RFC 7519, RFC 8725), by PyJWT.
"""

from __future__ import annotations

import math
from typing import Any, Sequence

import jwt
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from gatewayd.errors import TokenRefused
from gatewayd.interfaces import IAuthenticator
from gatewayd.model import Principal

LONGEST = 8192
"""
Characters. PyJWT decodes before it verifies, and would spend a third of a second on 5 MB.
"""


@implementer(IAuthenticator)
class TokenAuthenticator:
    """
    Checks tokens with one key. What a token says of its own algorithm only chooses among the
    configured ones, and PyJWT refuses a public key as an HMAC secret.
    """

    def __init__(
        self,
        key: str,
        algorithms: Sequence[str],
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 0.0,
    ) -> None:
        """
        @param key: the shared secret, or a public key in PEM.
        @param leeway: seconds.
        """
        self._algorithms = list(algorithms)
        # Prepared once: parsing a PEM for each token costs as much as a third of checking it.
        self._key: Any = jwt.get_algorithm_by_name(self._algorithms[0]).prepare_key(key)
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
            return succeed(self.principal(token))
        except TokenRefused:
            return fail()

    def principal(self, token: object) -> Principal:
        """
        Whom C{token} speaks for.

        @raise TokenRefused: it does not hold.
        """
        if not isinstance(token, str) or not token:
            raise TokenRefused("a token is needed, as a string")
        if len(token) > LONGEST:
            raise TokenRefused("it is too long")
        try:
            claims = jwt.decode(
                token, self._key, self._algorithms, options=self._options, **self._arguments
            )
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
            raise TokenRefused("it does not verify") from None
        return _principal(claims)


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
    except (TypeError, ValueError, OverflowError):
        return None
    return min(seconds, 1e12) if math.isfinite(seconds) else None


def _guilds(claim: Any) -> frozenset[str] | None:
    if claim is None:
        return None
    if not isinstance(claim, list):
        raise TokenRefused("its guilds are no list")
    if not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in claim):
        raise TokenRefused("its guilds are not all ids")
    return frozenset(map(str, claim))
