"""
A service that issues tokens, and publishes the keys to check them with.
"""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

PAIRS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    "ES256": "P-256",
    "ES256K": "secp256k1",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}
"""
By algorithm, the kind of key pair that it wants.
"""

_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "secp256k1": ec.SECP256K1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}


@cache
def pair(kind: str, number: int) -> Any:
    """
    A private key; always the same one for C{number}, since RSA's take long to make.
    """
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


class Issuer:
    """
    One of its key pairs.
    """

    def __init__(
        self, algorithm: str = "ES256", kid: str | None = "k1", *, kind: str = "", number: int = 1
    ) -> None:
        """
        @param kind: where not the usual one of C{algorithm}.
        @param number: tells several pairs of one kind apart.
        """
        self.algorithm = algorithm
        self.kid = kid
        self._private = pair(kind or PAIRS[algorithm], number)

    @property
    def public(self) -> Any:
        """
        The public key.
        """
        return self._private.public_key()

    @property
    def pem(self) -> str:
        """
        The public key, for a file.
        """
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        text: bytes = self.public.public_bytes(serialization.Encoding.PEM, info)
        return text.decode()

    def jwk(self, **fields: Any) -> dict[str, Any]:
        """
        The public key, for a set, with C{fields} beside or instead; L{None} leaves one out.
        """
        found: Any = jwt.get_algorithm_by_name(self.algorithm)
        usual = found.to_jwk(self.public, as_dict=True) | {"kid": self.kid, "use": "sig"}
        usual.pop("key_ops", None)
        return {name: value for name, value in (usual | fields).items() if value is not None}

    def token(
        self,
        *,
        alg: str = "",
        kid: str | None = "",
        header: dict[str, Any] | None = None,
        **said: Any,
    ) -> str:
        """
        A token of user u1 for an hour, with C{said} beside or instead.

        @param alg: where not the usual algorithm.
        @param kid: where not the pair's own; L{None} for none.
        @param header: what its header says beside those.
        """
        kid = self.kid if kid == "" else kid
        headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
        return jwt.encode(claims(**said), self._private, alg or self.algorithm, headers)


def claims(**said: Any) -> dict[str, Any]:
    """
    Claims of user u1 for an hour, with C{said} beside or instead.
    """
    return {"sub": "u1", "exp": int(time.time()) + 3600, **said}


def key_set(*keys: Any) -> bytes:
    """
    A JWK set of issuers and of whatever else.
    """
    return json.dumps(
        {"keys": [key.jwk() if isinstance(key, Issuer) else key for key in keys]}
    ).encode()
