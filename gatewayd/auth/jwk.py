"""
JSON Web Key sets (RFC 7517): which of the keys that somebody publishes can check tokens.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gatewayd.auth.keys import Key, uses
from gatewayd.errors import GatewayError

MOST_KEYS = 100
"""
A set of more is refused: to make a key of what is published takes a fraction of a
millisecond, and nobody has so many.
"""

SHORTEST_RSA = 2048
"""
Bits (RFC 7518, section 3.3).
"""

_FIELDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "RSA": ("RS256", ("n", "e")),
    "EC": ("ES256", ("crv", "x", "y")),
    "OKP": ("EdDSA", ("crv", "x")),
}
"""
By C{kty}: an algorithm by which PyJWT finds its reader, and the fields of a public key.
"""


class BadKeySet(GatewayError):
    """
    It is no key set, or holds no key that could check a token.
    """


class KeySet(NamedTuple):
    """
    @ivar ignored: why keys were left out, each reason once.
    """

    keys: tuple[Key, ...]
    ignored: tuple[str, ...]


class _Set(msgspec.Struct):
    keys: list[Any]


class _Ignored(Exception):
    """
    A key is not for us.
    """


def read(body: bytes, algorithms: Sequence[str]) -> KeySet:
    """
    The public keys in C{body} that are for any of C{algorithms}. All others are left out: what
    is not for signatures, and above all what is no public key.

    @raise BadKeySet: none is left, or it is not a set.
    """
    try:
        found = msgspec.json.decode(body, type=_Set).keys
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadKeySet('it is not a JWK set, {"keys": [...]}') from None
    if len(found) > MOST_KEYS:
        raise BadKeySet(f"it has more than {MOST_KEYS} keys")
    keys = []
    ignored = dict[str, None]()
    for jwk in found:
        try:
            keys.append(_key(jwk, algorithms))
        except _Ignored as reason:
            ignored[str(reason)] = None
    if not keys:
        why = f" ({'; '.join(ignored)})" if ignored else ""
        raise BadKeySet(f"it has no key for {', '.join(algorithms)}{why}")
    return KeySet(tuple(keys), tuple(ignored))


def _key(jwk: Any, algorithms: Sequence[str]) -> Key:
    if not isinstance(jwk, dict):
        raise _Ignored("one is no object")
    kty = jwk.get("kty")
    # Above all not `oct`: a secret that is published is none.
    if not isinstance(kty, str) or kty not in _FIELDS:
        raise _Ignored("one is not of kty RSA, EC or OKP")
    if "d" in jwk:
        raise _Ignored("one is private, and everybody can sign with it now")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list):
        raise _Ignored("one is not for signatures")
    if "verify" not in operations:
        raise _Ignored("one is not for signatures")
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _Ignored("the kid of one is no string")
    material = _material(jwk, kty)
    fitting = uses(material, algorithms)
    if "alg" in jwk:
        fitting = tuple(name for name in fitting if name == jwk["alg"])
    if not fitting:
        raise _Ignored("one is for another alg")
    return Key(fitting, material, kid)


def _material(jwk: dict[str, Any], kty: str) -> Any:
    reader, fields = _FIELDS[kty]
    public = {name: jwk.get(name) for name in fields}
    if not all(isinstance(value, str) for value in public.values()):
        raise _Ignored("one is incomplete")
    try:
        key = jwt.get_algorithm_by_name(reader).from_jwk({"kty": kty, **public})
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise _Ignored("one cannot be read") from None
    if isinstance(key, RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise _Ignored(f"one is of fewer than {SHORTEST_RSA} bits")
    return key
