"""
Whom to believe, put together from the configuration: the keys, what checks tokens with them, and
who is asked about guilds.
"""

from __future__ import annotations

import os
from typing import Any

from gatewayd.auth import http as http_authority
from gatewayd.auth import published as published_keys
from gatewayd.auth.claims import ClaimedGuilds
from gatewayd.auth.http import HttpGuilds
from gatewayd.auth.keys import HeldKeys, Keyring, KeySource, Material
from gatewayd.auth.published import PublishedKeys
from gatewayd.auth.redis import RedisGuilds
from gatewayd.auth.tokens import TokenAuthenticator
from gatewayd.auth.web import Web
from gatewayd.bus.sets import RedisSets
from gatewayd.config import Auth, Config, read
from gatewayd.interfaces import IGuildAuthority, IReadiness


class Trust:
    """
    See the module.

    @ivar upstreams: what it depends on.
    """

    def __init__(self, config: Config, reactor: Any, sets: RedisSets | None) -> None:
        """
        @param sets: asks Redis, where there is one.
        @raise ConfigError: a key does not fit the algorithms.
        """
        auth = config.auth
        self._path = config.path
        self._held = HeldKeys(auth.algorithms, _Reader(config))
        self._published: PublishedKeys | None = None
        self._guilds: HttpGuilds | None = None
        keys: KeySource = self._held
        if auth.jwks_url is not None:
            web = Web.pooled(
                reactor,
                patience=published_keys.FETCH_PATIENCE,
                longest=published_keys.LONGEST,
                at_once=1,
            )
            self._published = PublishedKeys(reactor, web, auth.jwks_url, auth.algorithms)
            keys = Keyring(self._held, self._published)
        self.authenticator = TokenAuthenticator(
            keys,
            auth.algorithms,
            issuer=auth.issuer,
            audience=auth.audience,
            leeway=auth.leeway,
        )
        self.authority = self._authority(auth, reactor, sets)
        self.upstreams: tuple[IReadiness, ...] = (
            () if self._published is None else (self._published,)
        )

    def _authority(self, auth: Auth, reactor: Any, sets: RedisSets | None) -> IGuildAuthority:
        if auth.guild_authority == "redis":
            # The configuration has seen to it that there is a Redis.
            assert sets is not None
            return RedisGuilds(reactor, sets.are_members, auth.authority_key)
        if auth.guild_authority == "http":
            assert auth.authority_url is not None
            web = Web.pooled(
                reactor,
                patience=http_authority.PATIENCE,
                longest=http_authority.LONGEST,
                at_once=http_authority.AT_ONCE,
            )
            self._guilds = HttpGuilds(reactor, web, auth.authority_url)
            return self._guilds
        return ClaimedGuilds()

    def start(self) -> None:
        """
        Begin to fetch what is fetched.
        """
        if self._published is not None:
            self._published.start()

    def reload(self) -> None:
        """
        Read the keys anew; what is wrong with them is logged, and changes nothing.
        """
        self._held.reload()
        if self._published is not None:
            self._published.refresh()

    async def stop(self) -> None:
        """
        Fetch no more.
        """
        if self._published is not None:
            await self._published.stop()
        if self._guilds is not None:
            await self._guilds.stop()


class _Reader:
    """
    The keys that the configuration holds or names: at first as it was read, then anew.
    """

    def __init__(self, config: Config) -> None:
        self._first: Config | None = config
        self._path = config.path

    def __call__(self) -> Material:
        config, self._first = self._first or read(self._path, os.environ), None
        secret = config.auth.secret
        return Material(
            None if secret is None else secret.get_secret_value(), config.auth.public_key
        )
