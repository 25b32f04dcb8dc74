"""
One client: what it says goes into its session's machine, and what the machine decides is
done here.

A connection owns no socket and no reactor. It has an L{ISink} to speak through, and shares
everything else with all other connections of the instance (L{Commons}).
"""

from __future__ import annotations

from typing import Callable, Coroutine

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gatewayd import closing, commands, frames, interest
from gatewayd.census import Census
from gatewayd.closing import Closing
from gatewayd.commands import Credentials
from gatewayd.delivery import Delivery
from gatewayd.errors import BadCommand, NotJSON, TokenRefused
from gatewayd.interfaces import IAuthenticator, IGuildAuthority, ISink
from gatewayd.messages import Identified, Message, Ready, Resume
from gatewayd.metrics import Metrics
from gatewayd.model import Denial, Grant, Principal
from gatewayd.pacing import Pace
from gatewayd.revocations import Revocations
from gatewayd.session import Core, LostReason, Session, new_session
from gatewayd.timetable import Appointment, Timetable

PROTOCOL_VERSION = 1
FAR = 400 * 86400.0
"""
Seconds after which an expiry is not worth an appointment: no connection lives that long.
"""


NOBODY = Principal(user="", expires=0.0)


@frozen
class Terms:
    """
    What every client of an instance is told or held to. Times in seconds.
    """

    instance: str
    version: str
    heartbeat_interval: float
    identify_timeout: float
    expiry_warning: float
    leeway: float
    messages_per_minute: int
    max_guilds: int
    connections_per_user: int
    subscribes_per_minute: int = 0


@define(eq=False)
class Commons:
    """
    What the connections of an instance share.

    @ivar wall: seconds since the epoch, for what tokens say; everything else goes by C{clock}.
    @ivar new_id: makes session ids that nobody can guess.
    @ivar filled: fires when the log's past is known, or after waiting long enough.
    """

    terms: Terms
    clock: IReactorTime
    wall: Callable[[], float]
    new_id: Callable[[], str]
    filled: Callable[[], Deferred[None]]
    census: Census[Connection]
    delivery: Delivery
    revocations: Revocations
    timetable: Timetable
    metrics: Metrics
    authenticator: IAuthenticator
    authority: IGuildAuthority
    log: Logger


class Connection:
    """
    See the module. Made when the handshake is done.

    @ivar user: empty until it has identified.
    @ivar address: the client's address, as limits count it.
    @ivar client: what the client calls itself.
    """

    __slots__ = (
        *("_beat_due", "_closing", "_commons", "_core", "_deadline", "_expiry", "_pace"),
        *(
            "_session",
            "_subscribes",
            "_unanswered",
            "address",
            "client",
            "interest",
            "opened",
            "principal",
        ),
        *("session_id", "since", "sink", "user"),
    )

    def __init__(self, commons: Commons, sink: ISink, address: str) -> None:
        self._commons = commons
        self.sink = sink
        self.address = address
        self.session_id = commons.new_id()
        self.user = ""
        self.client: str | None = None
        self.interest: interest.Interest | None = None
        self.principal = NOBODY
        self.opened = commons.clock.seconds()
        self.since = 0
        self._pace = Pace(commons.terms.messages_per_minute)
        self._subscribes: Pace | None = None
        self._core = Core(self, commons.terms.max_guilds)
        self._session: Session = new_session(self._core)
        self._closing: Closing | None = None
        self._unanswered = False
        self._beat_due: Appointment | None = None
        self._expiry: Appointment | None = None
        self._deadline: Appointment | None = commons.timetable.add(
            self.opened + commons.terms.identify_timeout, self._overdue
        )
        commons.census.opened(self)
        terms = commons.terms
        self.send(
            Ready(
                session_id=self.session_id,
                heartbeat_interval=round(terms.heartbeat_interval * 1000),
                identify_timeout=round(terms.identify_timeout * 1000),
                instance=terms.instance,
                version=terms.version,
                protocol=PROTOCOL_VERSION,
            )
        )

    @property
    def guilds(self) -> set[str]:
        """
        The guilds it is subscribed to.
        """
        return self._core.guilds

    # ------------------------------------------------- what the client says

    def received(self, payload: bytes, binary: bool) -> None:
        """
        One whole message came.
        """
        commons = self._commons
        if not self._pace.take(commons.clock.seconds()):
            commons.metrics.rate_limited.inc()
            self.end(closing.RATE_LIMITED)
            return
        if binary:
            self.end(closing.because(closing.NOT_JSON, "binary"))
            return
        try:
            # What a decoder skips, it does not look at.
            payload.decode()
            command = commands.decode(payload)
        except UnicodeDecodeError:
            self.end(closing.BAD_UTF8)
        except NotJSON:
            self.end(closing.NOT_JSON)
        except BadCommand as error:
            self._session.unfit(error)
        else:
            if isinstance(command, commands.Identify):
                self._session.identify(command.data)
            else:
                self._session.command(command)

    def lost(self, code: int | None) -> None:
        """
        The connection is gone.

        @param code: the close code, where there was one.
        """
        commons = self._commons
        self._session.lost()
        self._leave()
        commons.census.gone(self)
        if self._closing is not None:
            code = self._closing.code
        commons.metrics.closes.labels(_label(code)).inc()

    # --------------------------------------------- what happens beside that

    def end(self, why: Closing) -> None:
        """
        Close the connection for a reason that is not the session's own.
        """
        self._session.end(why)

    def added(self, guild: str) -> None:
        """
        The user became a member of a guild.
        """
        self._session.added(guild)

    def removed(self, guild: str, reason: LostReason) -> None:
        """
        The user is no longer a member of a guild.
        """
        self._session.removed(guild, reason)

    def _overdue(self, now: float) -> None:
        self.end(closing.IDENTIFY_TIMEOUT)

    def _beat(self, now: float) -> None:
        if self._unanswered:
            self.end(closing.HEARTBEAT_MISSED)
            return
        self._unanswered = True
        self._commons.delivery.beat(self)
        self._next_beat(now)

    def _next_beat(self, now: float) -> None:
        commons = self._commons
        self._beat_due = commons.timetable.add(now + commons.terms.heartbeat_interval, self._beat)

    def _expiring(self, now: float) -> None:
        principal = self.principal
        left = principal.expires - self._commons.wall()
        # Looked at again by the wall clock: it may have been set back since.
        if left > self._commons.terms.expiry_warning + 1:
            self.extend(principal)
            return
        self._session.expiring(max(0, round(left * 1000)))
        self._expiry = self._commons.timetable.add(
            now + max(0.0, left) + self._commons.terms.leeway, self._expired
        )

    def _expired(self, now: float) -> None:
        principal = self.principal
        if principal.expires + self._commons.terms.leeway > self._commons.wall() + 1:
            self.extend(principal)
            return
        self.end(closing.TOKEN_EXPIRED)

    # ------------------------------------------- what the machine has done

    def send(self, message: Message) -> None:
        """
        See L{gatewayd.session.Effects.send}.
        """
        code = getattr(message, "code", None)
        if code is not None:
            self._commons.metrics.client_errors.labels(code).inc()
        self.sink.say(frames.of_message(message))

    def authenticate(self, credentials: Credentials) -> None:
        """
        See L{gatewayd.session.Effects.authenticate}.
        """
        self._conduct(self._authenticate(credentials), "identifying")

    async def _authenticate(self, credentials: Credentials) -> None:
        commons = self._commons
        try:
            principal = await commons.authenticator.authenticate(credentials.token)
            if principal.user != credentials.user:
                raise TokenRefused("its sub is not userId")
        except TokenRefused as error:
            self._session.refused(closing.because(closing.TOKEN_REFUSED, error.reason))
            return
        if self._crowded(principal):
            self._session.refused(closing.TOO_MANY_CONNECTIONS)
            return
        grant = await self._allowed(principal, credentials.guilds)
        if credentials.last is not None:
            await commons.filled()
            await commons.delivery.reached(credentials.last)
        # Asked last, with nothing awaited after it: whoever was removed meanwhile is out, and
        # of several who came at once no more than there is room for are in.
        if self._crowded(principal):
            self._session.refused(closing.TOO_MANY_CONNECTIONS)
            return
        self._session.accepted(credentials, principal, self._standing(principal, grant))

    def _crowded(self, principal: Principal) -> bool:
        limit = self._commons.terms.connections_per_user
        return bool(limit) and self._commons.census.count_of(principal.user) >= limit

    async def _allowed(self, principal: Principal, asked: tuple[str, ...]) -> Grant:
        room = self._commons.terms.max_guilds
        grant = await self._commons.authority.allowed(principal, asked[:room])
        surplus = tuple(Denial(guild, "too_many_guilds") for guild in asked[room:])
        return Grant(grant.granted, grant.denied + surplus)

    def _standing(self, principal: Principal, grant: Grant) -> Grant:
        """
        C{grant} without what was revoked since the token was issued.
        """
        bars = self._commons.revocations.bars
        barred = tuple(guild for guild in grant.granted if bars(principal, guild))
        if not barred:
            return grant
        return Grant(
            tuple(guild for guild in grant.granted if guild not in barred),
            grant.denied + tuple(Denial(guild, "revoked") for guild in barred),
        )

    def enter(self, credentials: Credentials, principal: Principal, grant: Grant) -> None:
        """
        See L{gatewayd.session.Effects.enter}.
        """
        commons = self._commons
        commons.timetable.cancel(self._deadline)
        self._deadline = None
        self.user = principal.user
        self.client = credentials.client
        self.interest = interest.of(credentials.events)
        self.since = int(commons.wall() * 1000)
        commons.census.identified_as(self)
        for denial in grant.denied:
            commons.metrics.denials.labels(denial.reason).inc()
        identified = Identified(
            session_id=self.session_id,
            user_id=self.user,
            guild_ids=grant.granted,
            denied=grant.denied,
            last_event_id=str(commons.delivery.history.head),
        )
        missed = None
        if credentials.last is not None:
            missed = commons.delivery.missed(self, credentials.last)
            identified.resume = Resume(missed.recovered, len(missed.entries), missed.resync)
            commons.metrics.resumes.labels("yes" if missed.recovered else "no").inc()
        self.send(identified)
        self._next_beat(commons.clock.seconds())
        self.extend(principal)
        commons.delivery.admit(self, missed, credentials.last)

    def too_soon(self) -> int:
        """
        See L{gatewayd.session.Effects.too_soon}.
        """
        commons = self._commons
        pace = self._subscribes
        if pace is None:
            # Most clients never subscribe to more than they identified with.
            pace = self._subscribes = Pace(commons.terms.subscribes_per_minute)
        now = commons.clock.seconds()
        if pace.take(now):
            return 0
        commons.metrics.rate_limited.inc()
        return max(1, round(pace.wait(now) * 1000))

    def authorise(self, guild: str, asked: int) -> None:
        """
        See L{gatewayd.session.Effects.authorise}.
        """
        self._conduct(self._authorise(guild, asked), "subscribing")

    async def _authorise(self, guild: str, asked: int) -> None:
        principal = self.principal
        grant = await self._commons.authority.allowed(principal, (guild,))
        grant = self._standing(principal, grant)
        for denial in grant.denied:
            self._commons.metrics.denials.labels(denial.reason).inc()
        self._session.answered(guild, asked, grant)

    def join(self, guild: str) -> None:
        """
        See L{gatewayd.session.Effects.join}.
        """
        self._commons.delivery.registry.join(self, guild)

    def part(self, guild: str) -> None:
        """
        See L{gatewayd.session.Effects.part}.
        """
        self._commons.delivery.registry.part(self, guild)

    def renew(self, token: object) -> None:
        """
        See L{gatewayd.session.Effects.renew}.
        """
        self._conduct(self._renew(token), "authenticating")

    async def _renew(self, token: object) -> None:
        try:
            principal = await self._commons.authenticator.authenticate(token)
            if principal.user != self.user:
                raise TokenRefused("it is another user's")
        except TokenRefused as error:
            self._session.not_renewed(error.reason)
            return
        held = tuple(self.guilds)
        grant = self._standing(principal, await self._commons.authority.allowed(principal, held))
        # An authority that cannot answer takes nothing away from a session that it let in.
        lost = tuple(d.guild_id for d in grant.denied if d.reason != "unavailable")
        self._session.renewed(principal, lost)

    def extend(self, principal: Principal) -> None:
        """
        See L{gatewayd.session.Effects.extend}.
        """
        commons = self._commons
        self.principal = principal
        commons.timetable.cancel(self._expiry)
        self._expiry = None
        left = principal.expires - commons.wall()
        if left < FAR:
            warn_in = max(0.0, left - commons.terms.expiry_warning)
            self._expiry = commons.timetable.add(commons.clock.seconds() + warn_in, self._expiring)

    def acknowledged(self) -> None:
        """
        See L{gatewayd.session.Effects.acknowledged}.
        """
        self._unanswered = False

    def close(self, closing: Closing) -> None:
        """
        See L{gatewayd.session.Effects.close}.
        """
        self._closing = closing
        self._leave()
        self.sink.close(closing)

    def _leave(self) -> None:
        commons = self._commons
        commons.delivery.release(self)
        commons.timetable.cancel(self._deadline)
        commons.timetable.cancel(self._beat_due)
        commons.timetable.cancel(self._expiry)

    def _conduct(self, coroutine: Coroutine[Deferred[object], object, None], doing: str) -> None:
        def failed(failure: Failure) -> None:
            self._commons.log.failure(
                "{doing} session {session} failed",
                failure=failure,
                doing=doing,
                session=self.session_id,
            )
            self.end(closing.INTERNAL)

        Deferred.fromCoroutine(coroutine).addErrback(failed)


def _label(code: int | None) -> str:
    """
    A close code as a metric's label: a client may make up two thousand of them.
    """
    if code is None:
        return "1006"
    known = code in _KNOWN or 1000 <= code <= 1015
    return str(code) if known else "other"


_KNOWN = frozenset(closing_.code for closing_ in closing.TABLE)
