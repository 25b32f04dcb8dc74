"""
What tokens are checked with: a shared secret for HS*, public keys for everything else, and
never one in place of the other.
"""

from __future__ import annotations

from typing import Any, Callable, Protocol, Sequence

import jwt
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from gatewayd.config.values import SYMMETRIC
from gatewayd.errors import ConfigError, TokenRefused

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES = {
    "secp256r1": ("ES256",),
    "secp256k1": ("ES256K",),
    "secp384r1": ("ES384",),
    "secp521r1": ("ES512",),
}

UNVERIFIED = "it does not verify"
"""
The reason of a refusal that has no better one.
"""


@frozen
class Key:
    """
    What checks the signatures of some algorithms, and of no other.

    @ivar algorithms: those of the configured ones that it is for.
    @ivar material: as PyJWT takes it.
    @ivar kid: what tokens call it by; L{None} if it has no name.
    """

    algorithms: tuple[str, ...]
    material: Any = field(repr=False)
    kid: str | None = None


class KeySource(Protocol):
    """
    Where keys are from.
    """

    def known(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """
        The keys that a token which says this of itself is to be tried with, a few at most.
        Whatever the token says, each is for C{algorithm}.
        """

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        Fires when L{known}, which had nothing that verified such a token, may know more.

        @raise TokenRefused: it does not, or not soon.
        """


@frozen
class Material:
    """
    What the configuration gives to check tokens with.

    @ivar public_key: in PEM.
    """

    secret: str | None = field(default=None, repr=False)
    public_key: str | None = field(default=None, repr=False)


class HeldKeys:
    """
    The keys that the configuration gives.
    """

    log = Logger()

    def __init__(self, algorithms: Sequence[str], read: Callable[[], Material]) -> None:
        """
        @param algorithms: the configured ones, of all kinds.
        @param read: reads the configuration, now and at every L{reload}.
        @raise ConfigError: a key is not what its algorithms need.
        """
        self._algorithms = tuple(algorithms)
        self._read = read
        self._keys = _keys(read(), self._algorithms)

    @classmethod
    def of(cls, key: str, algorithms: Sequence[str]) -> HeldKeys:
        """
        One key that is given once: a secret where the first of C{algorithms} wants one, else
        a public key in PEM.

        @raise jwt.InvalidKeyError: it is not what the first of C{algorithms} wants.
        """
        jwt.get_algorithm_by_name(algorithms[0]).prepare_key(key)
        secret = algorithms[0] in SYMMETRIC
        material = Material(secret=key) if secret else Material(public_key=key)
        return cls(algorithms, lambda: material)

    def reload(self) -> bool:
        """
        Read the keys again, in place of those that were. What cannot be read, or is of no
        use, replaces nothing.

        @return: whether they were replaced.
        """
        try:
            self._keys = _keys(self._read(), self._algorithms)
        except ConfigError as error:
            for fault in error.faults:
                self.log.error("The keys of tokens stay as they were: {fault}", fault=fault)
            return False
        self.log.info("The keys of tokens were read again")
        return True

    def known(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """
        See L{KeySource.known}. A key from a file has no name, and is tried on any token of
        its kind.
        """
        return [key for key in self._keys if algorithm in key.algorithms]

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        See L{KeySource.sought}.
        """
        return fail(TokenRefused(UNVERIFIED))


class Keyring:
    """
    Keys that the configuration gives, and keys that are published.
    """

    def __init__(self, held: HeldKeys, published: KeySource) -> None:
        self._held = held
        self._published = published

    def known(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """
        See L{KeySource.known}.
        """
        return [*self._held.known(algorithm, kid), *self._published.known(algorithm, kid)]

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        See L{KeySource.sought}.
        """
        return self._published.sought(algorithm, kid)


def uses(key: object, algorithms: Sequence[str]) -> tuple[str, ...]:
    """
    Which of C{algorithms} a public key can be for.
    """
    fitting: tuple[str, ...] = ()
    if isinstance(key, RSAPublicKey):
        fitting = RSA
    elif isinstance(key, EllipticCurvePublicKey):
        fitting = CURVES.get(key.curve.name, ())
    elif isinstance(key, (Ed25519PublicKey, Ed448PublicKey)):
        fitting = ("EdDSA",)
    return tuple(name for name in algorithms if name in fitting)


def _keys(material: Material, algorithms: Sequence[str]) -> tuple[Key, ...]:
    keys: list[Key] = []
    faults: list[str] = []
    for given, make in ((material.secret, _secret), (material.public_key, _public)):
        try:
            if given is not None:
                keys.append(make(given, algorithms))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return tuple(keys)


def _secret(secret: str, algorithms: Sequence[str]) -> Key:
    symmetric = tuple(name for name in algorithms if name in SYMMETRIC)
    try:
        # PyJWT knows a public key in any of its forms, which everybody may have.
        material = jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except (jwt.PyJWTError, ValueError):
        raise ConfigError(["[auth] secret: expected a shared secret, not another key"]) from None
    return Key(symmetric, material)


def _public(pem: str, algorithms: Sequence[str]) -> Key:
    try:
        material = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            ["[auth] public_key_file: expected a public key in PEM; this one cannot be read"]
        ) from None
    asymmetric = [name for name in algorithms if name not in SYMMETRIC]
    fitting = uses(material, asymmetric)
    if asymmetric and not fitting:
        raise ConfigError(
            [f"[auth] public_key_file: expected a key for {', '.join(asymmetric)}; this is none"]
        )
    return Key(fitting, material)
