"""
What one key demands of another.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from gatewayd.config.sections import Config
from gatewayd.config.values import ASYMMETRIC, SYMMETRIC


class Rule(NamedTuple):
    """
    @ivar about: the keys it looks at, as C{section.key}; the first is the one at fault. It is
        not applied where one of them has a fault of its own.
    @ivar check: what is wrong, or L{None}.
    """

    about: tuple[str, ...]
    check: Callable[[Config], str | None]


def _workers(config: Config) -> str | None:
    if config.gateway.workers > 1 and config.redis.url is None:
        return "more than one process needs [redis] url, by which they share their events"
    return None


def _redis_authority(config: Config) -> str | None:
    if config.auth.guild_authority == "redis" and config.redis.url is None:
        return "this authority needs [redis] url"
    return None


def _http_authority(config: Config) -> str | None:
    if config.auth.guild_authority == "http" and config.auth.authority_url is None:
        return "this authority needs [auth] authority_url"
    return None


def _one_secret(config: Config) -> str | None:
    if config.auth.secret is not None and config.auth.secret_file is not None:
        return "secret is given as well; keep one of the two and leave the other empty"
    return None


def _one_admin_token(config: Config) -> str | None:
    if config.http.admin_token is not None and config.http.admin_token_file is not None:
        return "admin_token is given as well; keep one of the two and leave the other empty"
    return None


ALWAYS = (
    Rule(("gateway.workers", "redis.url"), _workers),
    Rule(("http.admin_token_file", "http.admin_token"), _one_admin_token),
    Rule(("auth.secret_file", "auth.secret"), _one_secret),
    Rule(("auth.guild_authority", "redis.url"), _redis_authority),
    Rule(("auth.guild_authority", "auth.authority_url"), _http_authority),
)
"""
The rules of every configuration.
"""

KEY_SOURCES = ("auth.secret", "auth.secret_file", "auth.public_key_file", "auth.jwks_url")
"""
Each gives something to check tokens with.
"""


def has_secret(config: Config) -> bool:
    """
    Whether there is, or will be, a secret to check tokens with.
    """
    return config.auth.secret is not None or config.auth.secret_file is not None


def has_public_key(config: Config) -> bool:
    """
    Whether there are, or will be, public keys to check tokens with.
    """
    return config.auth.public_key_file is not None or config.auth.jwks_url is not None


def _secret(config: Config) -> str | None:
    symmetric = [name for name in config.auth.algorithms if name in SYMMETRIC]
    # Never the public key in its place: who knows that could sign.
    if symmetric and has_public_key(config) and not has_secret(config):
        return (
            f"{symmetric[0]} needs secret or secret_file; a public key can only check "
            f"{', '.join(ASYMMETRIC)}"
        )
    return None


def _public_key(config: Config) -> str | None:
    asymmetric = [name for name in config.auth.algorithms if name in ASYMMETRIC]
    if asymmetric and has_secret(config) and not has_public_key(config):
        return (
            f"{asymmetric[0]} needs public_key_file or jwks_url; a secret can only check "
            f"{', '.join(SYMMETRIC)}"
        )
    return None


TO_START = (
    Rule(("auth.algorithms", *KEY_SOURCES), _secret),
    Rule(("auth.algorithms", *KEY_SOURCES), _public_key),
)
"""
The rules of one that is to check tokens, beside L{NO_KEY}.
"""

NO_KEY = (
    "no key to check tokens with: set [auth] secret, secret_file, public_key_file or jwks_url "
    "(or GATEWAY_AUTH_SECRET and so on in the environment)"
)


def keyless(config: Config) -> bool:
    """
    Whether there is nothing at all to check a token with.
    """
    return not has_secret(config) and not has_public_key(config)
