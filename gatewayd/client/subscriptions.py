"""
The guilds that an application wants to hear, and those that the session does.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator

from gatewayd.client.backoff import Allowance, Backoff
from gatewayd.client.errors import ClientError

Settle = Callable[[int, ClientError | None], None]

BURST, RATE = 40, 1.0
"""
Commands at once, and a second: together under 100 of the 120 messages that the gateway takes
in a minute. The rest is for heartbeats.
"""

UNAVAILABLE = "unavailable"
"""
The denial that says nothing about the user: the authority could not be asked.
"""


class Subscriptions:
    """
    What is wanted outlives every connection; what is held does not. L{commands} says what to
    send so that the second becomes the first.

    @ivar wanted: in the order in which they were asked for.
    @ivar held: by the session there is.
    """

    def __init__(self, guilds: Iterable[str], retry: Backoff, settle: Settle) -> None:
        """
        @param retry: how long to wait after C{unavailable}.
        @param settle: called with the reference of a L{want} or L{leave} once it is done, and
            with L{None} or what came between.
        """
        self.wanted = dict.fromkeys(guilds)
        self.held: set[str] = set()
        self._retry = retry
        self._settle = settle
        self._allowance = Allowance(BURST, RATE)
        self._waiting_in: dict[str, list[int]] = {}
        self._waiting_out: dict[str, list[int]] = {}
        self._asked: dict[str, str] = {}
        self._denied: set[str] = set()
        self._again: dict[str, float] = {}
        self._missed: set[str] = set()
        self._live = False
        self._blocked = 0.0

    # ------------------------------------------------------- the application

    def want(self, guild: str, ref: int) -> None:
        """
        Hear C{guild} from now on; C{ref} is settled when it is heard.
        """
        self.wanted[guild] = None
        self._denied.discard(guild)
        if self._asked.get(guild) != "guild_unsubscribe":
            # It was to be left, and the gateway has not been told.
            kept = ClientError("subscribed", "subscribed again before it was left", guild_id=guild)
            self._done(self._waiting_out, guild, kept)
        if guild in self.held and guild not in self._asked:
            self._settle(ref, None)
        else:
            self._waiting_in.setdefault(guild, []).append(ref)

    def leave(self, guild: str, ref: int) -> None:
        """
        Hear C{guild} no more; C{ref} is settled when it is not.
        """
        self.wanted.pop(guild, None)
        self._again.pop(guild, None)
        self._missed.discard(guild)
        gone = ClientError("unsubscribed", "unsubscribed before it was heard", guild_id=guild)
        self._done(self._waiting_in, guild, gone)
        if self._live and (guild in self.held or guild in self._asked):
            self._waiting_out.setdefault(guild, []).append(ref)
        else:
            self._settle(ref, None)

    # ----------------------------------------------------------- the session

    def identified(
        self, granted: Iterable[str], denied: Iterable[tuple[str, str]], now: float
    ) -> list[str]:
        """
        A session begins that hears C{granted}, and not C{denied}: guilds and reasons.

        @return: the guilds that are heard again after a session that did not hear them.
        """
        self._live = True
        self.held = set(granted)
        for guild, reason in denied:
            if reason == UNAVAILABLE:
                self.postpone(guild, now)
            else:
                self._deny(guild, ClientError(reason, "you may not see this guild"))
        regained = [guild for guild in self.held if guild in self._missed]
        # Whoever waits for a guild looks at it when told; all others believe they hear it.
        self._missed = set(self.wanted) - self.held - set(self._waiting_in)
        for guild in self.held:
            self._done(self._waiting_in, guild, None)
        return regained

    def postpone(self, guild: str, now: float, wait: float | None = None) -> None:
        """
        C{guild} was denied for now: it is asked for again later.
        """
        self._asked.pop(guild, None)
        self._again[guild] = now + (max(1.0, self._retry.next()) if wait is None else wait)
        self._done(self._waiting_out, guild, None)
        if guild in self.held and guild in self.wanted:
            # It was to be left, is not, and has been wanted again since.
            self._done(self._waiting_in, guild, None)

    def subscribed(self, guild: str) -> bool:
        """
        The session hears C{guild}: it asked, or the user became a member.

        @return: whether events in it may have been missed, without anybody waiting for it.
        """
        self.held.add(guild)
        asked = self._asked.get(guild)
        if asked == "guild_unsubscribe":
            # What the gateway said before it heard that.
            return False
        if asked is None:
            self.wanted[guild] = None
        self._asked.pop(guild, None)
        self._again.pop(guild, None)
        if not self._again:
            self._retry.reset()
        regained = guild in self._missed
        self._missed.discard(guild)
        return not self._done(self._waiting_in, guild, None) and regained

    def unsubscribed(self, guild: str, reason: str | None) -> None:
        """
        The session does not hear C{guild} any more. With a C{reason} that was taken from it.
        """
        self.held.discard(guild)
        if reason is not None:
            self.wanted.pop(guild, None)
            gone = ClientError(reason, "the guild was taken away", guild_id=guild)
            self._done(self._waiting_in, guild, gone)
        elif self._asked.get(guild) == "guild_unsubscribe":
            del self._asked[guild]
        self._done(self._waiting_out, guild, None)

    def denied(self, guild: str, error: ClientError) -> None:
        """
        The gateway will not let the session hear C{guild}.
        """
        self._asked.pop(guild, None)
        self._deny(guild, error)
        self._done(self._waiting_out, guild, None)

    def _deny(self, guild: str, error: ClientError) -> None:
        if self._done(self._waiting_in, guild, error):
            self.wanted.pop(guild, None)
        else:
            # Nobody was told, so it stays wanted: the next session asks again.
            self._denied.add(guild)

    def lost(self) -> None:
        """
        There is no session any more.
        """
        self._live = False
        self.held.clear()
        self._asked.clear()
        self._denied.clear()
        self._again.clear()
        for guild in list(self._waiting_out):
            self._done(self._waiting_out, guild, None)

    def closed(self, error: ClientError) -> None:
        """
        There will be none.
        """
        self.lost()
        for guild in list(self._waiting_in):
            self._done(self._waiting_in, guild, error)

    def _done(self, waiting: dict[str, list[int]], guild: str, error: ClientError | None) -> bool:
        refs = waiting.pop(guild, [])
        for ref in refs:
            self._settle(ref, error)
        return bool(refs)

    # ------------------------------------------------------- becoming what is wanted

    def commands(self, now: float) -> Iterator[tuple[str, str]]:
        """
        What to send now: names of commands, and guilds.
        """
        self._blocked = 0.0
        if not self._live:
            return
        for name, guild in self._differences(now):
            if not self._allowance.take(now):
                self._blocked = self._allowance.next()
                return
            self._asked[guild] = name
            yield name, guild

    def _differences(self, now: float) -> list[tuple[str, str]]:
        leave = [guild for guild in self.held if guild not in self.wanted]
        enter = [
            guild
            for guild in self.wanted
            if guild not in self.held
            and guild not in self._denied
            and self._again.get(guild, now) <= now
        ]
        return [
            *(("guild_unsubscribe", guild) for guild in leave if guild not in self._asked),
            *(("guild_subscribe", guild) for guild in enter if guild not in self._asked),
        ]

    @property
    def due(self) -> float | None:
        """
        When L{commands} will have more; L{None} if that is not a matter of time.
        """
        if not self._live:
            return None
        times = [when for guild, when in self._again.items() if guild in self.wanted]
        if self._blocked:
            times.append(self._blocked)
        return min(times, default=None)
