"""
One client's session, from C{ready} to its end, as a state machine (protocol, section 1).

There are four states. I{Waiting}: connected, and only C{identify} will do. I{Identifying}:
its token and guilds are being asked about. I{Live}: events flow. I{Over}: nothing matters
any more, and every input, however late, is swallowed here and not by a guard elsewhere.

The machine decides; L{Effects} does. What an effect asks of the world comes back as another
input: C{accepted}, C{answered}, C{renewed}. Every input returns L{None}, because Automat
queues an input that arrives within another one only then, and an authority may well answer
before its question has returned.

A late answer never undoes a newer command: each question carries the number of its asking,
and C{guild_unsubscribe} takes the number away. Fresh tokens are asked about one after the
other, and of those that wait only the newest.
"""

from __future__ import annotations

from typing import Literal, Protocol

from automat import TypeMachineBuilder

from gatewayd import closing, commands
from gatewayd.closing import Closing
from gatewayd.commands import Command, Credentials, FreshToken
from gatewayd.errors import BadCommand
from gatewayd.messages import (
    Authenticated,
    Error,
    GuildSubscribed,
    GuildUnsubscribed,
    HeartbeatAck,
    Message,
    TokenExpiring,
)
from gatewayd.model import Grant, Principal

MAX_UNKNOWN = 10
"""
Unknown events a client may send before it is taken for something else than a client (4001).
"""

MAX_EARLY = 120
"""
Commands kept while C{identify} is being answered.
"""

LostReason = Literal["member_removed", "guild_deleted", "revoked"]


class Effects(Protocol):
    """
    What the machine has done for it. None of these raises.
    """

    def send(self, message: Message) -> None:
        """
        Say something to the client.
        """

    def authenticate(self, credentials: Credentials) -> None:
        """
        Ask whom the token speaks for and what it may see; then C{accepted} or C{refused}.
        """

    def enter(self, credentials: Credentials, principal: Principal, grant: Grant) -> None:
        """
        Say C{identified}, replay what was missed, and let events flow.
        """

    def too_soon(self) -> int:
        """
        Count one more subscription.

        @return: milliseconds to wait for it; 0 if it is within the limit.
        """

    def authorise(self, guild: str, asked: int) -> None:
        """
        Ask whether the session may see a guild; then C{answered}.
        """

    def join(self, guild: str) -> None:
        """
        Let the events of a guild flow.
        """

    def part(self, guild: str) -> None:
        """
        Let them flow no more.
        """

    def renew(self, token: object) -> None:
        """
        Ask whether a fresh token speaks for the same user; then C{renewed} or C{not_renewed}.
        """

    def extend(self, principal: Principal) -> None:
        """
        From now on the session lives as long as this principal's token.
        """

    def acknowledged(self) -> None:
        """
        The client answered the heartbeat.
        """

    def close(self, closing: Closing) -> None:
        """
        End the connection with this code.
        """


class Inputs(Protocol):
    """
    What can happen to a session.
    """

    def identify(self, credentials: Credentials) -> None:
        """
        The client says who it is.
        """

    def command(self, command: Command) -> None:
        """
        The client says anything else that we understand.
        """

    def unfit(self, error: BadCommand) -> None:
        """
        The client says something that we do not.
        """

    def accepted(self, credentials: Credentials, principal: Principal, grant: Grant) -> None:
        """
        The token holds.
        """

    def refused(self, why: Closing) -> None:
        """
        It does not, or there is no room for this user.
        """

    def answered(self, guild: str, asked: int, grant: Grant) -> None:
        """
        The authority said yes or no to one guild.
        """

    def renewed(self, principal: Principal, lost: tuple[str, ...]) -> None:
        """
        The fresh token holds; it no longer grants C{lost}.
        """

    def not_renewed(self, why: str) -> None:
        """
        The fresh token does not hold. The old one may still.
        """

    def added(self, guild: str) -> None:
        """
        The user became a member of a guild.
        """

    def removed(self, guild: str, reason: LostReason) -> None:
        """
        The user is no longer a member of a guild, or there is no such guild.
        """

    def expiring(self, milliseconds: int) -> None:
        """
        The token will expire.
        """

    def end(self, why: Closing) -> None:
        """
        Somebody else than the client ends the session: a timeout, an operator, a drain.
        """

    def lost(self) -> None:
        """
        The connection is gone.
        """


_WHY_NOT = {"unavailable": "the guild authority cannot answer now; try again later"}


class Core:
    """
    What a session remembers.

    @ivar guilds: those it is subscribed to.
    @ivar asking: those being asked about, with the number of the asking.
    @ivar early: commands that came while C{identify} was being answered.
    @ivar renewing: whether a fresh token is being asked about.
    @ivar fresh: the one to ask about after it.
    """

    __slots__ = (
        *("asked", "asking", "early", "effects", "fresh", "guilds", "max_guilds"),
        *("renewing", "unknown"),
    )

    def __init__(self, effects: Effects, max_guilds: int) -> None:
        self.effects = effects
        self.max_guilds = max_guilds
        self.guilds: set[str] = set()
        self.asking: dict[str, int] | None = None
        self.early: list[Command] | None = None
        self.asked = 0
        self.unknown = 0
        self.renewing = False
        self.fresh: FreshToken | None = None


_builder = TypeMachineBuilder(Inputs, Core)
_waiting = _builder.state("waiting")
_identifying = _builder.state("identifying")
_live = _builder.state("live")
_over = _builder.state("over")

# ------------------------------------------------------------------ waiting


@_waiting.upon(Inputs.identify).to(_identifying)
def _ask_who(inputs: Inputs, core: Core, credentials: Credentials) -> None:
    core.effects.authenticate(credentials)


@_waiting.upon(Inputs.command).to(_over)
def _not_identified(inputs: Inputs, core: Core, command: Command) -> None:
    core.effects.close(closing.NOT_IDENTIFIED)


@_waiting.upon(Inputs.unfit).loop()
def _unfit_early(inputs: Inputs, core: Core, error: BadCommand) -> None:
    if error.event == "identify":
        core.effects.send(_complaint(error))
    else:
        inputs.end(closing.NOT_IDENTIFIED)


# -------------------------------------------------------------- identifying


@_identifying.upon(Inputs.command).loop()
def _keep(inputs: Inputs, core: Core, command: Command) -> None:
    early = core.early = core.early if core.early is not None else []
    if len(early) < MAX_EARLY:
        early.append(command)
    else:
        inputs.end(closing.RATE_LIMITED)


@_identifying.upon(Inputs.accepted).to(_live)
def _enter(
    inputs: Inputs, core: Core, credentials: Credentials, principal: Principal, grant: Grant
) -> None:
    core.guilds.update(grant.granted)
    core.effects.enter(credentials, principal, grant)
    early, core.early = core.early, None
    for command in early or ():
        inputs.command(command)


@_identifying.upon(Inputs.refused).to(_over)
def _refused(inputs: Inputs, core: Core, why: Closing) -> None:
    core.effects.close(why)


# --------------------------------------------------------------------- live


@_live.upon(Inputs.command).loop()
def _serve(inputs: Inputs, core: Core, command: Command) -> None:
    match command:
        case commands.HeartbeatAck():
            core.effects.acknowledged()
        case commands.Heartbeat():
            core.effects.send(HeartbeatAck())
        case commands.GuildSubscribe():
            _subscribe(core, command.data.guild)
        case commands.GuildUnsubscribe():
            _unsubscribe(core, command.data.guild)
        case commands.Authenticate():
            core.fresh = command.data
            if not core.renewing:
                _renew(core)


def _subscribe(core: Core, guild: str) -> None:
    asking = core.asking = core.asking if core.asking is not None else {}
    if guild in core.guilds:
        core.effects.send(GuildSubscribed(guild))
    elif len(core.guilds) + len(asking) >= core.max_guilds and guild not in asking:
        core.effects.send(
            Error(
                "too_many_guilds",
                f"at most {core.max_guilds} guilds a session",
                event="guild_subscribe",
                guild_id=guild,
            )
        )
    elif wait := core.effects.too_soon():
        core.effects.send(
            Error(
                "rate_limited",
                "too many subscriptions at once",
                event="guild_subscribe",
                guild_id=guild,
                retry_after=wait,
            )
        )
    else:
        core.asked += 1
        asking[guild] = core.asked
        core.effects.authorise(guild, core.asked)


def _unsubscribe(core: Core, guild: str) -> None:
    if core.asking:
        core.asking.pop(guild, None)
    if guild in core.guilds:
        core.guilds.discard(guild)
        core.effects.part(guild)
    core.effects.send(GuildUnsubscribed(guild))


def _renew(core: Core) -> None:
    fresh, core.fresh = core.fresh, None
    core.renewing = fresh is not None
    if fresh is not None:
        core.effects.renew(fresh.token)


@_live.upon(Inputs.answered).loop()
def _answered(inputs: Inputs, core: Core, guild: str, asked: int, grant: Grant) -> None:
    asking = core.asking or {}
    if asking.get(guild) != asked:
        return
    del asking[guild]
    if guild in grant.granted:
        core.guilds.add(guild)
        core.effects.join(guild)
        core.effects.send(GuildSubscribed(guild))
        return
    core.effects.send(_denied(guild, grant.denied[0].reason if grant.denied else "forbidden"))


@_live.upon(Inputs.added).loop()
def _added(inputs: Inputs, core: Core, guild: str) -> None:
    # What was asked before is answered by this, whatever the authority says later.
    if core.asking:
        core.asking.pop(guild, None)
    # A membership that the platform itself announced is not the client's to be limited in.
    if guild not in core.guilds:
        core.guilds.add(guild)
        core.effects.join(guild)
        core.effects.send(GuildSubscribed(guild))


@_live.upon(Inputs.removed).loop()
def _removed(inputs: Inputs, core: Core, guild: str, reason: LostReason) -> None:
    if core.asking and core.asking.pop(guild, None) is not None:
        core.effects.send(_denied(guild, "forbidden"))
    if guild in core.guilds:
        core.guilds.discard(guild)
        core.effects.part(guild)
        core.effects.send(GuildUnsubscribed(guild, reason))


@_live.upon(Inputs.renewed).loop()
def _renewed(inputs: Inputs, core: Core, principal: Principal, lost: tuple[str, ...]) -> None:
    core.effects.extend(principal)
    core.effects.send(Authenticated(int(principal.expires * 1000)))
    for guild in lost:
        inputs.removed(guild, "revoked")
    _renew(core)


@_live.upon(Inputs.not_renewed).loop()
def _not_renewed(inputs: Inputs, core: Core, why: str) -> None:
    core.effects.send(Error("token_refused", why, event="authenticate"))
    _renew(core)


@_live.upon(Inputs.expiring).loop()
def _expiring(inputs: Inputs, core: Core, milliseconds: int) -> None:
    core.effects.send(TokenExpiring(milliseconds))


# ---------------------------------------------------------- live, or nearly


@_identifying.upon(Inputs.identify).to(_over)
@_live.upon(Inputs.identify).to(_over)
def _twice(inputs: Inputs, core: Core, credentials: Credentials) -> None:
    core.effects.close(closing.IDENTIFIED_TWICE)


@_identifying.upon(Inputs.unfit).loop()
@_live.upon(Inputs.unfit).loop()
def _unfit(inputs: Inputs, core: Core, error: BadCommand) -> None:
    if error.code == "unknown_event":
        core.unknown += 1
        if core.unknown > MAX_UNKNOWN:
            inputs.end(closing.UNKNOWN_EVENTS)
            return
    core.effects.send(_complaint(error))


@_waiting.upon(Inputs.end).to(_over)
@_identifying.upon(Inputs.end).to(_over)
@_live.upon(Inputs.end).to(_over)
def _end(inputs: Inputs, core: Core, why: Closing) -> None:
    core.effects.close(why)


def _denied(guild: str, reason: str) -> Error:
    why = _WHY_NOT.get(reason, "you may not see this guild")
    return Error(reason, why, event="guild_subscribe", guild_id=guild)


def _complaint(error: BadCommand) -> Error:
    complaint = Error(error.code, error.reason)
    if error.event is not None:
        complaint.event = error.event
    return complaint


# ------------------------------------------- what makes no difference, where

for _state in (_waiting, _identifying, _live):
    _state.upon(Inputs.lost).to(_over).returns(None)
for _input in (
    *(Inputs.accepted, Inputs.refused, Inputs.answered, Inputs.renewed, Inputs.not_renewed),
    *(Inputs.added, Inputs.removed, Inputs.expiring),
):
    _waiting.upon(_input).loop().returns(None)
    _over.upon(_input).loop().returns(None)
for _input in (
    *(Inputs.answered, Inputs.renewed, Inputs.not_renewed),
    *(Inputs.added, Inputs.removed, Inputs.expiring),
):
    # Membership that changes while the guilds are being asked about is looked at again by
    # L{Effects.enter}, which knows all that was revoked.
    _identifying.upon(_input).loop().returns(None)
for _input in (Inputs.accepted, Inputs.refused):
    _live.upon(_input).loop().returns(None)
for _late in (Inputs.identify, Inputs.command, Inputs.unfit, Inputs.end, Inputs.lost):
    _over.upon(_late).loop().returns(None)

Session = Inputs
new_session = _builder.build()
"""
Takes a L{Core}; returns L{Inputs} in the state I{waiting}.
"""
