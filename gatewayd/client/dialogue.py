"""
What a client hears from the gateway, and what it answers.
"""

from __future__ import annotations

from typing import Callable

from gatewayd.client import words
from gatewayd.client.bookmark import Bookmark
from gatewayd.client.effects import Emit, Meta, Resync, Send, State
from gatewayd.client.errors import ClientError
from gatewayd.client.link import Link, Step
from gatewayd.client.liveness import Liveness
from gatewayd.client.options import Identity, Timing
from gatewayd.client.outbox import Outbox
from gatewayd.client.subscriptions import UNAVAILABLE, Subscriptions
from gatewayd.client.words import Message

IDENTIFY_BYTES = 15_000
"""
The gateway takes messages of 16 KiB. Guilds that do not fit into C{identify} are subscribed to
one by one.
"""

SHORTEST, USUAL = 0.05, 30.0
"""
Seconds between heartbeats: what is believed at the least, and what is assumed.
"""

RENEW_AGAIN = 5.0
"""
Seconds after which a token that could not be renewed is tried again.
"""


class Dialogue:
    """
    One side of the protocol. It speaks by way of the outbox, and leaves in the link what the
    core has to see to.
    """

    def __init__(
        self,
        identity: Identity,
        timing: Timing,
        subscriptions: Subscriptions,
        bookmark: Bookmark,
        outbox: Outbox,
    ) -> None:
        self._identity = identity
        self._timing = timing
        self._subscriptions = subscriptions
        self._bookmark = bookmark
        self._outbox = outbox
        self._sessions = 0
        self._controls: dict[str, Callable[[Link, Message, float], None]] = {
            "ready": self._ready,
            "identified": self._identified,
            "heartbeat": self._heartbeat,
            "heartbeat_ack": self._nothing,
            "guild_subscribed": self._guild_subscribed,
            "guild_unsubscribed": self._guild_unsubscribed,
            "error": self._error,
            "token_expiring": self._token_expiring,
            "authenticated": self._nothing,
            "reconnect": self._reconnect,
        }

    def say(self, event: str, **data: object) -> None:
        """
        Send one command.
        """
        self._outbox.put(Send(words.write(event, **data)))

    def hear(self, link: Link, text: str | bytes, now: float) -> None:
        """
        A message came.
        """
        message = words.read(text)
        if message is None:
            self._outbox.error(ClientError("bad_message", "the gateway sent what is no message"))
            return
        if link.liveness is not None:
            link.liveness.heard(now)
        control = self._controls.get(message.event)
        if control is not None:
            control(link, message, now)
        elif link.step is None:
            self._event(message)

    def _event(self, message: Message) -> None:
        if message.id is None or self._bookmark.event(message.id):
            meta = Meta(message.event, message.id, message.guild_id)
            self._outbox.put(Emit(meta, message.data))

    # -------------------------------------------------------------- beginning

    def _ready(self, link: Link, message: Message, now: float) -> None:
        if link.step is not Step.READY:
            return
        interval = message.number("heartbeatInterval")
        link.interval = max(SHORTEST, interval / 1000) if interval else USUAL
        link.expect(Step.IDENTIFIED, now + self._timing.identify_timeout)
        self._outbox.become(State.IDENTIFYING)
        identity = self._identity
        self.say(
            "identify",
            userId=identity.user_id,
            token=link.token,
            guildIds=self._guilds_that_fit(link.token or ""),
            lastEventId=self._bookmark.last,
            events=identity.events or None,
            client=identity.client,
        )

    def _guilds_that_fit(self, token: str) -> list[str]:
        room = IDENTIFY_BYTES - len(token)
        fit: list[str] = []
        for guild in self._subscriptions.wanted:
            room -= len(guild.encode()) + 3
            if room < 0:
                break
            fit.append(guild)
        return fit

    def _identified(self, link: Link, message: Message, now: float) -> None:
        if link.step is not Step.IDENTIFIED:
            return
        link.step = None
        link.since = now
        link.liveness = Liveness(link.interval, self._timing.probe_timeout, now)
        granted, denied = message.texts("guildIds"), _denied(message)
        self._outbox.become(State.READY)
        regained = self._subscriptions.identified(granted, denied, now)
        resume = message.mapping.get("resume")
        resume = resume if isinstance(resume, dict) else None
        self._bookmark.identified(message.text("lastEventId"), resume)
        if resume is not None:
            missed = words.Message("resume", resume, None, None).texts("resync")
        else:
            # A session began from the head of the log, although there was one before.
            missed = granted if self._sessions else ()
        self._sessions += 1
        self._resync((*missed, *regained))
        for guild, reason in denied:
            why = "the guild is denied to this session"
            self._outbox.error(ClientError(reason, why, event="identify", guild_id=guild))

    def _resync(self, guilds: tuple[str, ...]) -> None:
        if guilds:
            self._outbox.tell("resync", Resync(tuple(dict.fromkeys(guilds))))

    # ------------------------------------------------------------------- live

    def _nothing(self, link: Link, message: Message, now: float) -> None:
        """
        That it came is all it says.
        """

    def _heartbeat(self, link: Link, message: Message, now: float) -> None:
        # Before identify there is nothing one may say, this included.
        if link.step in (Step.IDENTIFIED, None):
            self.say("heartbeat_ack")
        if link.step is None:
            self._bookmark.heartbeat(message.text("lastEventId"))

    def _guild_subscribed(self, link: Link, message: Message, now: float) -> None:
        guild = message.text("guildId")
        if link.step is None and guild is not None:
            regained = self._subscriptions.subscribed(guild)
            self._outbox.tell("guild_subscribed", message.data)
            if regained:
                self._resync((guild,))

    def _guild_unsubscribed(self, link: Link, message: Message, now: float) -> None:
        guild = message.text("guildId")
        if link.step is None and guild is not None:
            self._subscriptions.unsubscribed(guild, message.text("reason"))
            self._outbox.tell("guild_unsubscribed", message.data)

    def _error(self, link: Link, message: Message, now: float) -> None:
        wait = message.number("retryAfter")
        error = ClientError(
            message.text("code") or "error",
            message.text("message") or "the gateway did not say why",
            event=message.text("event"),
            guild_id=message.text("guildId"),
            retry_after=None if wait is None else wait / 1000,
        )
        guild = error.guild_id
        if error.event == "guild_subscribe" and guild is not None:
            if error.code == UNAVAILABLE or error.retry_after is not None:
                self._subscriptions.postpone(guild, now, error.retry_after)
            else:
                self._subscriptions.denied(guild, error)
        elif error.event == "authenticate":
            link.renew_at = now + RENEW_AGAIN
        self._outbox.error(error)

    def _token_expiring(self, link: Link, message: Message, now: float) -> None:
        if link.step is None and self._identity.token is None:
            link.renew_at = now
        else:
            self._outbox.tell("token_expiring", message.data)

    def _reconnect(self, link: Link, message: Message, now: float) -> None:
        if link.step is not None:
            return
        wait = (message.number("retryAfter") or 0.0) / 1000
        link.come_back_at = now + wait
        # A gateway that shuts down serves to the end, and has already spread out the times
        # at which its clients go. One that lost its upstream has nothing to stay for.
        link.leave_at = now if message.text("reason") == "upstream" else link.come_back_at


def _denied(message: Message) -> list[tuple[str, str]]:
    listed = message.mapping.get("denied")
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [
        (row["guildId"], str(row.get("reason", "forbidden")))
        for row in rows
        if isinstance(row.get("guildId"), str)
    ]
