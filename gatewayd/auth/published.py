"""
Public keys that the issuer of the tokens publishes as a JWK set, and now and then replaces.

They are fetched in the background. Whoever identifies reads what is there; only the first
set, and a key that is not in it, are waited for, and then all wait for the same fetch.
"""

from __future__ import annotations

from random import random as system_random
from typing import Any, Callable, Sequence
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gatewayd.auth.jwk import BadKeySet, read
from gatewayd.auth.keys import UNVERIFIED, Key
from gatewayd.auth.web import NoAnswer, Web
from gatewayd.config.values import SYMMETRIC
from gatewayd.errors import TokenRefused
from gatewayd.interfaces import IReadiness
from gatewayd.retry import Backoff, Outage

FETCH_PATIENCE = 5.0
"""
Seconds until a whole set must be there.
"""

LONGEST = 512 * 1024
"""
Bytes of a set: a hundred of the longest keys, with the certificates that some put beside them.
"""

MOST_TRIED = 4
"""
Keys that one token is tried with. Each try takes a tenth of a millisecond, and it is not the
token's business to have a hundred of them.
"""

AWAKENED = 50
"""
Waiting clients that go on in one turn of the reactor, when keys come.
"""

UNKNOWN = "its key is not among those published"
NAMELESS = "it does not name its key (kid), and too many could be it"
ABSENT = "the keys to check it with cannot be fetched now; try again later"

INITIAL_DELAY = 1.0
MAX_DELAY = 15.0


@implementer(IReadiness)
class PublishedKeys:
    """
    The keys behind one address. Once there, they stay until others take their place: an
    address that fails takes nothing away.
    """

    name = "jwks"
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        web: Web,
        url: str,
        algorithms: Sequence[str],
        *,
        interval: float = 300.0,
        cooldown: float = 30.0,
        patience: float = 3.0,
        stale: float = 3600.0,
        random: Callable[[], float] = system_random,
    ) -> None:
        """
        @param web: bounded by L{FETCH_PATIENCE} and L{LONGEST}.
        @param algorithms: the configured ones, of all kinds.
        @param interval: seconds from one fetch to the next, less up to a tenth.
        @param cooldown: seconds in which unknown keys make us fetch only once.
        @param patience: seconds that a client waits for keys.
        @param stale: seconds after which keys are too old to call this well.
        @param random: answers with a number in [0, 1).
        """
        self._clock = clock
        self._web = web
        self._url = url
        self._host = urlsplit(url).hostname
        self._algorithms = tuple(name for name in algorithms if name not in SYMMETRIC)
        self._interval = interval
        self._cooldown = cooldown
        self._patience = patience
        self._stale = stale
        self._random = random
        self._backoff = Backoff(INITIAL_DELAY, MAX_DELAY, random)
        self._outage = Outage()
        self._keys: tuple[Key, ...] = ()
        self._told: object = None
        self._fetched: float | None = None
        self._may_seek = 0.0
        self._fetching: Deferred[Any] | None = None
        self._next: IDelayedCall | None = None
        self._stopped = False
        self._waiting: dict[Deferred[None], None] = {}

    def start(self) -> None:
        """
        Fetch the keys, and go on doing so.
        """
        self.refresh()

    def refresh(self) -> None:
        """
        Fetch the keys now, if that is not under way.
        """
        if self._fetching is not None or self._stopped:
            return
        if self._next is not None and self._next.active():
            self._next.cancel()
        fetching: Deferred[Any] = Deferred.fromCoroutine(self._fetch())
        self._fetching = fetching
        fetching.addBoth(self._done)

    async def stop(self) -> None:
        """
        Fetch no more. Whoever waits is refused.
        """
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._fetching is not None:
            self._fetching.cancel()
        for waiting in list(self._waiting):
            waiting.cancel()
        await self._web.stop()

    def known(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """
        See L{gatewayd.auth.keys.KeySource.known}.
        """
        named = [key for key in self._keys if key.kid == kid] if kid is not None else []
        # A set without names is still a set; and so is a token's issuer who gives none.
        meant = named or [key for key in self._keys if kid is None or key.kid is None]
        fitting = [key for key in meant if algorithm in key.algorithms]
        return fitting if len(fitting) <= MOST_TRIED else ()

    def sought(self, algorithm: str, kid: str | None) -> Deferred[None]:
        """
        See L{gatewayd.auth.keys.KeySource.sought}.
        """
        if algorithm not in self._algorithms:
            return fail(TokenRefused(UNVERIFIED))
        if self._fetched is None:
            return self._news()
        if kid is None and sum(algorithm in key.algorithms for key in self._keys) > MOST_TRIED:
            return fail(TokenRefused(NAMELESS))
        if any(key.kid == kid for key in self._keys if kid is not None):
            return fail(TokenRefused(UNVERIFIED))
        why = UNVERIFIED if kid is None else UNKNOWN
        if self._fetching is None:
            now = self._clock.seconds()
            if now < self._may_seek:
                return fail(TokenRefused(why))
            self._may_seek = now + self._cooldown
            self.refresh()
        learning = succeed(None) if self._fetching is None else self._news()
        return learning.addCallback(lambda _: self._learned(algorithm, kid, why))

    def _learned(self, algorithm: str, kid: str | None, why: str) -> None:
        if not self.known(algorithm, kid):
            raise TokenRefused(why)

    def status(self) -> dict[str, Any]:
        """
        See L{IReadiness.status}. C{ok} also while the address fails, until the keys are old.
        """
        if self._fetched is None:
            return {"status": "connecting", "error": self._outage.error or "not fetched yet"}
        age = self._clock.seconds() - self._fetched
        status: dict[str, Any] = {"status": "ok", "keys": len(self._keys), "age": round(age)}
        if age > self._stale:
            status["status"] = "connecting"
            status["error"] = self._outage.error or "the keys are old"
        return status

    async def _fetch(self) -> bool:
        """
        @return: whether there are keys from just now.
        """
        try:
            found = read(await self._web.ask("GET", self._url), self._algorithms)
        except (NoAnswer, BadKeySet) as error:
            if self._outage.failed(str(error), self._clock.seconds()):
                self.log.warn(
                    "The keys of tokens cannot be fetched from {host}: {error}; {kept}",
                    host=self._host,
                    error=error,
                    kept="will try again, and goes on with those it has"
                    if self._keys
                    else "will try again, and takes no token until then",
                )
            return False
        now = self._clock.seconds()
        self._keys = found.keys
        self._fetched = now
        self._backoff.reset()
        lasted = self._outage.over(now)
        told = ([key.kid for key in found.keys], found.ignored)
        if told != self._told or lasted is not None:
            self._told = told
            self.log.info(
                "{host} publishes {count} keys for tokens{but}",
                host=self._host,
                count=len(found.keys),
                but=f", and others that are left out: {'; '.join(found.ignored)}"
                if found.ignored
                else "",
            )
        return True

    def _done(self, result: bool | Failure) -> None:
        self._fetching = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("The keys of tokens could not be read", failure=result)
        if self._stopped:
            return
        if result is True:
            delay = self._interval * (1 - self._random() / 10)
        else:
            delay = self._backoff.next()
        self._next = self._clock.callLater(delay, self.refresh)
        # Without any keys yet, to wait on is of more use than to be refused.
        if self._fetched is not None:
            waiting, self._waiting = self._waiting, {}
            self._awaken(waiting)

    def _news(self) -> Deferred[None]:
        """
        Fires when a fetch is done, or is refused after waiting long enough.
        """
        waiting: Deferred[None] = Deferred(lambda one: self._waiting.pop(one, None))
        self._waiting[waiting] = None
        return waiting.addTimeout(self._patience, self._clock).addErrback(_in_vain)

    def _awaken(self, waiting: dict[Deferred[None], None]) -> None:
        """
        Have them go on, a few at a time: a thousand tokens take a tenth of a second, and
        other clients should not wait for that.
        """
        for one in list(waiting)[:AWAKENED]:
            del waiting[one]
            if not one.called:
                one.callback(None)
        if waiting:
            self._clock.callLater(0, self._awaken, waiting)


def _in_vain(reason: Failure) -> None:
    raise TokenRefused(ABSENT)
