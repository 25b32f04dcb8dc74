"""
What a client does, without doing it: what happened goes in, what to do about it comes out.

No sockets, no clock, no randomness of its own. L{gatewayd.client.asyncio} and
L{gatewayd.client.twisted} are shells around it, and the TypeScript SDK has the same core.
"""

from __future__ import annotations

from typing import Callable, Iterable

from gatewayd.client import inputs, verdict
from gatewayd.client.backoff import Backoff
from gatewayd.client.bookmark import Bookmark
from gatewayd.client.dialogue import RENEW_AGAIN, Dialogue
from gatewayd.client.effects import Ask, Drop, Effect, Keep, Open, Settle, State
from gatewayd.client.errors import ClientError
from gatewayd.client.inputs import Input
from gatewayd.client.link import Link, Step
from gatewayd.client.liveness import Finding
from gatewayd.client.options import Identity, Timing
from gatewayd.client.outbox import Outbox
from gatewayd.client.subscriptions import Subscriptions
from gatewayd.closing import ComeBack

MAX_REFUSALS = 3
"""
Fresh tokens refused in a row after which no other one will do.
"""

LONGEST_ADVICE = 3600.0
"""
Seconds that a server may make a client wait.
"""


class Core:
    """
    The life of one client, over any number of connections.
    """

    def __init__(
        self,
        identity: Identity,
        guilds: Iterable[str],
        timing: Timing,
        random: Callable[[], float],
        last_event_id: str | None = None,
    ) -> None:
        """
        @param random: answers with a number in [0, 1).
        @param last_event_id: from which to resume; L{None} to begin with what comes.
        """
        self._identity = identity
        self._timing = timing
        self._random = random
        self._outbox = Outbox()
        self._bookmark = Bookmark(last_event_id)
        self._subscriptions = Subscriptions(
            guilds,
            Backoff(timing.min_delay, timing.max_delay, random),
            lambda ref, error: self._outbox.put(Settle(ref, error)),
        )
        self._dialogue = Dialogue(
            identity, timing, self._subscriptions, self._bookmark, self._outbox
        )
        self._backoff = Backoff(timing.min_delay, timing.max_delay, random)
        self._link: Link | None = None
        self._attempts = 0
        self._kept = last_event_id
        self._then: float | None = None
        self._now = 0.0
        # Between attempts: the next one, what a server said it must not be before, and when
        # being offline is no longer believed.
        self._until = 0.0
        self._not_before = 0.0
        self._disbelief = 0.0
        self._online = True
        # The token function, which is asked once at a time.
        self._asking = False
        self._spare: str | None = None
        self._refused: str | None = None
        self._refusals = 0

    @property
    def state(self) -> State:
        """
        Where the client is.
        """
        return self._outbox.state

    @property
    def last_event_id(self) -> str | None:
        """
        From where the next session would resume.
        """
        return self._bookmark.last

    @property
    def guild_ids(self) -> tuple[str, ...]:
        """
        The guilds that the session hears.
        """
        subscriptions = self._subscriptions
        return tuple(guild for guild in subscriptions.wanted if guild in subscriptions.held)

    @property
    def wait(self) -> float | None:
        """
        Seconds from the last input until L{inputs.Tick} is worth telling; L{None} for never.
        """
        due: float | None = None
        if self.state is State.WAITING:
            due = self._until if self._online else max(self._until, self._disbelief)
        elif self._link is not None:
            times = (self._link.due, self._subscriptions.due)
            due = min((one for one in times if one is not None), default=None)
        return None if due is None else max(0.0, due - self._now)

    def receive(self, happened: Input, now: float) -> list[Effect]:
        """
        Something happened, at C{now} seconds of a clock that had better be steady. One that
        is set back stands still for us; one that leaps ahead ends waits and asks questions,
        and no more than that.

        @return: what to do, in this order.
        """
        if self._then is not None:
            self._now += max(0.0, now - self._then)
        self._then = now
        self._take(happened)
        self._follow_up()
        return self._outbox.take()

    def _take(self, happened: Input) -> None:
        match happened:
            case inputs.Text(attempt, text):
                if (link := self._link) is not None and link.attempt == attempt:
                    self._dialogue.hear(link, text, self._now)
            case inputs.Tick():
                self._tick()
            case inputs.Connect():
                self._connect()
            case inputs.Close():
                self._end(None)
            case inputs.Opened(attempt):
                if (link := self._link) is not None and link.attempt == attempt:
                    link.expect(Step.READY, self._now + self._timing.ready_timeout)
            case inputs.Lost(attempt, code, reason, error):
                if (link := self._link) is not None and link.attempt == attempt:
                    self._lost(link, code, reason, error)
            case inputs.Token(value):
                self._token(value)
            case inputs.NoToken(error, final):
                self._no_token(error, final)
            case inputs.Network(online):
                self._online = online
                if online:
                    self._hurry()
            case inputs.Awake():
                self._hurry()
            case inputs.Want(guild, ref):
                if self.state is State.CLOSED:
                    self._outbox.put(Settle(ref, _closed()))
                else:
                    self._subscriptions.want(guild, ref)
            case inputs.Leave(guild, ref):
                self._subscriptions.leave(guild, ref)

    def _follow_up(self) -> None:
        link, now = self._link, self._now
        if link is not None and link.step is None:
            if link.leave_at is not None and now >= link.leave_at:
                self._outbox.put(Drop(verdict.NORMAL, "as asked"))
                self._retry(link, None)
            else:
                if link.renew_at is not None and now >= link.renew_at:
                    self._renew(link)
                for name, guild in self._subscriptions.commands(now):
                    self._dialogue.say(name, guildId=guild)
        if self._bookmark.last is not None and self._bookmark.last != self._kept:
            self._kept = self._bookmark.last
            self._outbox.put(Keep(self._kept))

    # --------------------------------------------------------------- attempts

    def _connect(self) -> None:
        if self.state is State.WAITING:
            self._hurry()
        elif self._link is None:
            self._refused, self._refusals = None, 0
            self._backoff.reset()
            self._attempt()

    def _attempt(self) -> None:
        self._attempts += 1
        late = self._now + self._timing.token_timeout
        self._link = link = Link(self._attempts, Step.TOKEN, late)
        self._outbox.become(State.CONNECTING)
        token, self._spare = self._identity.token or self._spare, None
        if token is not None:
            self._open(link, token)
        else:
            self._ask()

    def _open(self, link: Link, token: str) -> None:
        if token == self._refused:
            why = "the token function gave the very token that the gateway refused"
            self._end(ClientError("token_refused", why))
            return
        link.token = token
        link.expect(Step.SOCKET, self._now + self._timing.connect_timeout)
        self._outbox.put(Open(link.attempt))

    def _tick(self) -> None:
        link, now = self._link, self._now
        if link is None:
            if self.state is State.WAITING and self.wait == 0.0:
                self._attempt()
        elif link.step is not None:
            if now >= link.deadline:
                self._fail(link, link.step.late)
        elif link.liveness is not None:
            finding = link.liveness.check(now)
            if finding is Finding.ASK:
                self._dialogue.say("heartbeat")
            elif finding is Finding.DEAD:
                self._fail(link, ClientError("silent", "the gateway has fallen silent"))

    def _hurry(self) -> None:
        """
        There is reason to believe that things have changed: try now, or ask.
        """
        link = self._link
        if self.state is State.WAITING:
            self._until = min(self._until, max(self._now, self._not_before))
            self._tick()
        elif link is not None and link.liveness is not None and link.liveness.doubt(self._now):
            self._dialogue.say("heartbeat")

    # ----------------------------------------------------------- their ends

    def _fail(self, link: Link, error: ClientError) -> None:
        if link.open:
            self._outbox.put(Drop(verdict.OURS, error.message))
        self._retry(link, error)

    def _lost(self, link: Link, code: int, reason: str, error: ClientError | None) -> None:
        if error is None:
            word = "unreachable" if link.step is Step.SOCKET else "connection_lost"
            error = ClientError(word, f"{code} {reason}".strip(), close_code=code)
        if link.since is not None:
            # Its token was good once.
            self._refused, self._refusals = None, 0
        come_back = verdict.verdict(code)
        if come_back in (ComeBack.NEW_TOKEN, ComeBack.NEW_TOKEN_RESUME):
            self._refused = link.token
            self._refusals += come_back is ComeBack.NEW_TOKEN
        refused = self._refused is not None and self._refused == self._identity.token
        if come_back is ComeBack.NO or refused or self._refusals >= MAX_REFUSALS:
            self._link = None
            self._end(ClientError("closed", f"{code} {reason}".strip(), close_code=code))
            return
        floor = 0.0
        if come_back is ComeBack.LATER:
            floor = self._timing.later_delay * (1 + self._random())
        if error.retry_after is not None:
            # The same for everybody who is turned away, so it says where to begin to spread.
            floor = min(error.retry_after, LONGEST_ADVICE) + self._backoff.next()
        self._retry(link, error, floor)

    def _retry(self, link: Link, error: ClientError | None, floor: float = 0.0) -> None:
        now = self._now
        lasted = link.since is not None and now - link.since >= self._timing.stable
        if lasted:
            self._backoff.reset()
        self._link = None
        self._subscriptions.lost()
        wait = floor
        if link.come_back_at is not None:
            wait = max(wait, min(link.come_back_at - now, LONGEST_ADVICE))
            self._not_before = now + wait
            # A gateway that is drained over and over is still no reason to rush.
            wait = wait if lasted else max(wait, self._backoff.next())
        else:
            self._not_before = now + wait
            wait = max(wait, self._backoff.next())
        self._until = now + wait
        self._disbelief = now + self._timing.max_delay
        if error is not None:
            self._outbox.error(error)
        self._outbox.become(State.WAITING, wait, error)

    def _end(self, error: ClientError | None) -> None:
        if self.state is State.CLOSED:
            return
        if self._link is not None and self._link.open:
            self._outbox.put(Drop(verdict.NORMAL, ""))
        self._link = None
        self._subscriptions.closed(error or _closed())
        if error is not None:
            self._outbox.error(error)
        self._outbox.become(State.CLOSED, error=error)

    # ----------------------------------------------------------------- tokens

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            self._outbox.put(Ask())

    def _renew(self, link: Link) -> None:
        link.renew_at = None
        link.renewing = True
        self._ask()

    def _token(self, value: str) -> None:
        self._asking = False
        link = self._link
        if link is not None and link.step is Step.TOKEN:
            self._open(link, value)
        elif link is not None and link.renewing:
            link.renewing = False
            if value == link.token:
                self._not_renewed(link, ClientError("token_failed", "it is the same token"))
            else:
                link.token = value
                self._dialogue.say("authenticate", token=value)
        elif self.state is State.WAITING:
            # It came too late for its attempt, and in time for the next.
            self._spare = value

    def _no_token(self, error: ClientError, final: bool) -> None:
        self._asking = False
        link = self._link
        if final:
            self._end(error)
        elif link is not None and link.step is Step.TOKEN:
            self._retry(link, error)
        elif link is not None and link.renewing:
            link.renewing = False
            self._not_renewed(link, error)

    def _not_renewed(self, link: Link, error: ClientError) -> None:
        link.renew_at = self._now + RENEW_AGAIN
        self._outbox.error(error)


def _closed() -> ClientError:
    return ClientError("closed", "the client is closed")
