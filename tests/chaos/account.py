"""
What one client received over all its connections, judged as it comes.

It is a logical client: it loses connections and makes new ones, to whichever instance, and takes
the id of the newest event that it has from one to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Collection

from attrs import define, field

from gatewayd.model import ORIGIN, Audience, Position
from tests.chaos.words import Gap, Publication, Span, Violation

if TYPE_CHECKING:
    from tests.chaos.ledger import Ledger


def everything(name: str) -> bool:
    """
    The interest of a client that names none.
    """
    return True


@define(eq=False)
class Account:
    """
    @ivar bookmark: the id to resume from, kept as the protocol tells clients to.
    @ivar wants: which events, by name, it asks for.
    @ivar claims: the guilds of its token.
    @ivar guilds: those it is subscribed to, by what it was told.
    @ivar had: the largest number received.
    """

    ledger: Ledger
    user: str
    name: str
    wants: Callable[[str], bool] = everything
    bookmark: str | None = None
    claims: frozenset[str] = frozenset()
    guilds: set[str] = field(factory=set)
    had: int = -1
    received: int = 0
    _minted: int = 0
    _since: int | None = None
    _seen: set[int] = field(factory=set)
    _spans: dict[str, list[Span]] = field(factory=dict)
    _gaps: list[Gap] = field(factory=list)
    _asked: str | None = None
    _head: str | None = None
    _asking: set[str] = field(factory=set)
    _replaying: int = 0
    _last: Position = ORIGIN
    _latest: int = -1
    _again: Position = ORIGIN

    # What the client does.

    def minted(self) -> frozenset[str]:
        """
        It gets a new token, for the guilds that it is a member of now.
        """
        ledger = self.ledger
        self.claims = frozenset(ledger.roll.guilds(self.user))
        self._minted = ledger.next
        return self.claims

    def connected(self) -> None:
        """
        It has a new connection, and identifies with its bookmark.
        """
        self._asked = self.bookmark
        self._asking.clear()
        self._last, self._latest = ORIGIN, -1
        self._replaying = 0

    def subscribes(self, guild: str) -> None:
        """
        It asks for a guild.
        """
        self._asking.add(guild)

    # What it is told.

    def took(self, message: dict[str, Any], raw: bytes) -> None:
        """
        The gateway said something.

        @param raw: the text of C{message}.
        """
        data = message["data"]
        match message["event"]:
            case "identified":
                self._identified(data)
            case "heartbeat":
                self._heartbeat(data["lastEventId"])
            case "guild_subscribed":
                self._subscribed(data["guildId"])
            case "guild_unsubscribed":
                self._unsubscribed(data["guildId"], data.get("reason"))
            case "ready" | "error" | "reconnect" | "heartbeat_ack":
                pass
            case "authenticated" | "token_expiring":
                pass
            case _:
                self._event(message, raw)

    def _identified(self, data: dict[str, Any]) -> None:
        ledger, roll = self.ledger, self.ledger.roll
        granted = data["guildIds"]
        for guild in granted:
            if guild not in self.claims:
                self._complain(Violation.LEAK, f"was granted {guild}, which its token does not")
        for denial in data["denied"]:
            guild = denial["guildId"]
            if guild in self.claims and roll.faithful(self.user, guild):
                self._complain(Violation.DISHONESTY, f"was denied {guild}: {denial['reason']}")
        head = _position(data["lastEventId"])
        self._resumed(data.get("resume"), granted, head)
        if self._since is None:
            self._since = ledger.next
        for guild in self.guilds.difference(granted):
            self._end(guild, self.had)
        for guild in granted:
            if guild not in self.guilds:
                self._begin(guild, self._asked)
        self._head = data["lastEventId"]
        if not self._replaying:
            self.bookmark = data["lastEventId"]

    def _resumed(self, resume: Any, granted: Collection[str], head: Position) -> None:
        if self._asked is None:
            if resume is not None:
                self._complain(Violation.DISHONESTY, "a resume was answered that was not asked for")
            return
        if resume is None:
            self._complain(Violation.DISHONESTY, "a resume was not answered")
            return
        ledger, asked = self.ledger, _position(self._asked)
        ledger.resumes += 1
        self._replaying = resume["replayed"]
        resync = frozenset(resume["resync"])
        if resync.difference(granted):
            self._complain(Violation.DISHONESTY, f"{resync} is to be fetched, of {granted} granted")
        if resume["recovered"]:
            if resync:
                self._complain(Violation.DISHONESTY, f"all is recovered, but for {resync}")
            return
        ledger.resyncs += 1
        self._gaps.append(Gap(asked, self.had, head, ledger.next, resync))
        if asked > head:
            # The instance does not know that id, and so not what the client has.
            self._again = asked

    def _heartbeat(self, head: str) -> None:
        if _position(head) < self._last:
            self._complain(Violation.DISHONESTY, f"the log is at {head}, behind {self._last}")
        self.bookmark = head

    def _subscribed(self, guild: str) -> None:
        asked = guild in self._asking
        self._asking.discard(guild)
        if guild not in self.guilds:
            # Unasked it begins with an event that made it a member, and that came just now.
            self._begin(guild, None if asked else self._head)

    def _unsubscribed(self, guild: str, reason: str | None) -> None:
        membership = self.ledger.roll.at(self.user, guild, max(self.had, 0))
        last = None if membership is None else membership.until
        if last is None or reason in (None, "revoked") or self._replaying:
            # What it was yet to be replayed of that guild, it gets no more.
            last = self.had
        self._end(guild, last)

    def _begin(self, guild: str, after: str | None) -> None:
        """
        @param after: it is due all that is later in the log than this id, if it was a member;
            L{None} for what is published from now on.
        """
        ledger = self.ledger
        since = ledger.next
        membership = ledger.roll.after(self.user, guild, self.had)
        if after is not None and membership is not None:
            since = max(membership.since, self.had + 1, self._since or 0)
        span = Span(since, None, _position(after) if after else ORIGIN, ledger.next)
        self.guilds.add(guild)
        self._spans.setdefault(guild, []).append(span)

    def _end(self, guild: str, until: int) -> None:
        self.guilds.discard(guild)
        spans = self._spans.get(guild)
        if spans and spans[-1].until is None:
            spans[-1] = spans[-1]._replace(until=until)

    def _event(self, message: dict[str, Any], raw: bytes) -> None:
        ledger = self.ledger
        ledger.deliveries += 1
        self.received += 1
        number = message["data"]["n"]
        publication = ledger.publications[number]
        self._compare(publication, message, raw)
        if not publication.ephemeral:
            position = _position(message["id"])
            ledger.place(publication, position)
            if position <= self._last:
                self._complain(Violation.REORDERING, f"id {position} came after {self._last}")
            self._last = position
            self.bookmark = message["id"]
            self._replaying = max(0, self._replaying - 1)
        self._in_order(publication)
        if not self._may_see(publication):
            self._complain(
                Violation.LEAK, f"event {number} for {publication.audience} came; had {self.guilds}"
            )

    def _compare(self, publication: Publication, message: dict[str, Any], raw: bytes) -> None:
        guilds = publication.audience.guilds
        keys = {"event", "data"}
        if len(guilds) == 1:
            keys.add("guildId")
        if not publication.ephemeral:
            keys.add("id")
        if (
            message.keys() != keys
            or message["event"] != publication.name
            or message.get("guildId", guilds[0] if guilds else None) not in (*guilds, None)
            or not raw.endswith(b'"data":' + publication.data + b"}")
        ):
            self._complain(
                Violation.DISHONESTY, f"{raw!r} is not what was published: {publication}"
            )

    def _in_order(self, publication: Publication) -> None:
        number = publication.number
        position = publication.position
        again = position is not None and position <= self._again
        if number in self._seen and again:
            self.ledger.repeats += 1
        elif number in self._seen:
            self._complain(Violation.DOUBLE, f"event {number} at {position} came twice")
        elif number <= (self._latest if again else self.had):
            self._complain(Violation.REORDERING, f"event {number} came after {self.had}")
        self._seen.add(number)
        self._latest = number
        self.had = max(self.had, number)

    # What is right.

    def _may_see(self, publication: Publication) -> bool:
        audience, number, user = publication.audience, publication.number, self.user
        if user in audience.excluded:
            return False
        if user in audience.also:
            return True
        if audience.users and user not in audience.users:
            return False
        if not audience.guilds:
            return bool(audience.users)
        member = self.ledger.roll.member
        return any(
            guild in self.guilds
            and (
                member(user, guild, number)
                # What was before it joined, it may see once it has.
                or (number < self._minted and member(user, guild, self._minted))
            )
            for guild in audience.guilds
        )

    def close(self) -> None:
        """
        See what never came. To be called once, when everything that is to come has.
        """
        for publication in self.ledger.publications:
            if (
                publication.confirmed
                and not publication.ephemeral
                and publication.number not in self._seen
                and self.wants(publication.name)
            ):
                self._missing(publication)

    def _missing(self, publication: Publication) -> None:
        audience, number, user = publication.audience, publication.number, self.user
        due = self._due_as_user(audience) and self._since is not None and number >= self._since
        guilds = self._due_guilds(publication)
        if not due and not guilds:
            return
        gaps = [gap for gap in self._gaps if gap.covers(publication)]
        at = f"event {number} at {publication.position} for {audience}"
        if not gaps:
            self._complain(
                Violation.LOSS, f"{at} never came; had {self.had}, {user} is in {guilds}"
            )
        elif guilds and not any(gap.resync.issuperset(guilds) for gap in gaps):
            self._complain(Violation.DISHONESTY, f"{at} is missing, and {guilds} were not all told")

    def _due_as_user(self, audience: Audience) -> bool:
        user = self.user
        if user in audience.excluded:
            return False
        return user in audience.also or (not audience.guilds and user in audience.users)

    def _due_guilds(self, publication: Publication) -> list[str]:
        audience, user = publication.audience, self.user
        if user in audience.excluded or (audience.users and user not in audience.users):
            return []
        return [
            guild
            for guild in audience.guilds
            if any(span.holds(publication) for span in self._spans.get(guild, ()))
        ]

    def _complain(self, violation: Violation, what: str) -> None:
        self.ledger.complain(violation, f"{self.name}: {what}")


def _position(text: str) -> Position:
    position = Position.parse(text)
    assert position is not None, f"{text!r} is no event id"
    return position
