"""
The promise (protocol, "Resume" and sections 2 and 3), whatever happens in whatever order: a state
machine of hypothesis over a cluster on a simulated clock.
"""

from __future__ import annotations

import json
from typing import Any, Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import closing
from gatewayd.bus.memory import MemoryBus, MemoryLog
from gatewayd.connection import Connection
from gatewayd.model import Audience, Entry, Position
from tests.chaos.account import Account
from tests.chaos.ledger import Ledger
from tests.chaos.simulated_broker import Broker
from tests.chaos.simulation import EPOCH, Ear, Instance, Passports, Pipe
from tests.stand_ins import frames_in

USERS = ("alice", "bob", "carol")
GUILDS = ("g1", "g2", "g3")
MEMBERS = {"alice": ("g1", "g2"), "bob": ("g1", "g3"), "carol": ("g3",)}
DEVICES = ("alice", "alice", "bob", "carol")

users = st.sampled_from(USERS)
guilds = st.sampled_from(GUILDS)
some_users = st.lists(users, min_size=1, max_size=2, unique=True).map(tuple)
some_guilds = st.lists(guilds, min_size=1, max_size=2, unique=True).map(tuple)
audiences = st.one_of(
    st.builds(Audience, guilds=some_guilds),
    st.builds(Audience, guilds=some_guilds, excluded=some_users),
    st.builds(Audience, guilds=some_guilds, users=some_users),
    st.builds(Audience, users=some_users),
)
few = st.integers(1, 4)
which = st.integers(0, 10)


class Client:
    """
    One device of a user.
    """

    def __init__(self, account: Account, now: Callable[[], float]) -> None:
        self.account = account
        self.connection: Connection | None = None
        self.pipe: Pipe | None = None
        self._now = now
        self.token: str | None = None

    def renew(self) -> str:
        """
        Get a new token.
        """
        claims = self.account.minted()
        self.token = Passports().token(self.account.user, claims, self._now())
        return self.token

    def come(self, instance: Instance, fresh: bool) -> None:
        """
        Connect and identify.
        """
        token = self.renew() if fresh or self.token is None else self.token
        self.connection, self.pipe = instance.connect()
        self.account.connected()
        data = {"userId": self.account.user, "token": token}
        if self.account.bookmark is not None:
            data["lastEventId"] = self.account.bookmark
        self.say("identify", **data, guildIds=sorted(self.account.claims))

    def say(self, event: str, **data: Any) -> None:
        """
        Say something.
        """
        assert self.connection is not None
        self.connection.received(json.dumps({"event": event, "data": data}).encode(), False)

    def read(self, most: int = 1 << 20) -> None:
        """
        Read some of what was sent.
        """
        pipe, connection = self.pipe, self.connection
        if pipe is None or connection is None:
            return
        for _ in range(most):
            piece = pipe.read()
            if piece is None:
                break
            for frame in frames_in(piece):
                message = frame.json
                self.account.took(message, frame.payload)
                if message["event"] == "heartbeat":
                    self.say("heartbeat_ack")
        if pipe.closing is not None and not pipe.unread:
            self.vanish(pipe.closing.code)

    def vanish(self, code: int | None = None) -> None:
        """
        Be disconnected.
        """
        connection, self.connection, self.pipe = self.connection, None, None
        if connection is not None:
            connection.lost(code)


class Witness(Ear):
    """
    Sees where in the log everything is.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def heard(self, entry: Entry, fresh: bool) -> None:
        """
        An event was put into the log.
        """
        number = json.loads(entry.event.data)["n"]
        if entry.position is not None:
            self._ledger.place(self._ledger.publications[number], entry.position)

    def begun(self, position: Position, complete: bool) -> None:
        """
        The log began.
        """


class Cluster(RuleBasedStateMachine):
    """
    Two instances, four devices, one broker, one log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ledger = Ledger()
        self.broker = Broker()
        self.log = MemoryLog(self.clock, self.wall, dedup_window=1e6, max_length=20)
        self.witness = MemoryBus(self.log)
        self.witness.trim = lambda: Position(1 << 62, 0)
        self.witness.start(Witness(self.ledger))
        self.instances = [self._instance(), self._instance()]
        for user, memberships in MEMBERS.items():
            for guild in memberships:
                self.ledger.roll.joined(user, guild, 0)
        self.clients = [Client(self.ledger.account(user), self.wall) for user in DEVICES]
        self.made = 0

    made = 0

    def _instance(self) -> Instance:
        self.made += 1
        return Instance(f"gateway-{self.made}", self.clock, self.log, self.broker)

    def wall(self) -> float:
        """
        Seconds since the epoch.
        """
        return EPOCH + self.clock.seconds()

    def instance(self, number: int) -> Instance:
        """
        One of those that run.
        """
        return self.instances[number % len(self.instances)]

    def client(self, number: int) -> Client:
        """
        One of the devices.
        """
        return self.clients[number % len(self.clients)]

    # What microservices publish.

    def _publish(
        self, name: str, audience: Audience, named: bool, data: dict[str, Any] | None = None
    ) -> int:
        ledger = self.ledger
        publication = ledger.publish(name, audience, data, ephemeral=name == "typing.start")
        envelope: dict[str, Any] = {}
        if audience.guilds:
            envelope["guildIds"] = audience.guilds
        if audience.users:
            envelope["userIds"] = audience.users
        if audience.excluded:
            envelope["excludeUserIds"] = audience.excluded
        head = json.dumps(envelope).encode()[:-1] + (b", " if envelope else b"")
        number = publication.number
        body = head + b'"data":' + publication.data + b"}"
        self.broker.publish(body, name, f"id-{number}" if named else None)
        publication.confirmed = True
        return number

    @rule(audience=audiences, named=st.booleans(), ephemeral=st.integers(0, 5))
    def publish(self, audience: Audience, named: bool, ephemeral: int) -> None:
        """
        An event is published.
        """
        self._publish("message.create" if ephemeral else "typing.start", audience, named)

    @rule(guild=guilds, user=users, named=st.booleans())
    def publish_beside(self, guild: str, user: str, named: bool) -> None:
        """
        An event is published that is for a guild and bears on one user.
        """
        audience = Audience(guilds=(guild,), also=(user,))
        self._publish("voice.server.update", audience, named, {"userId": user})

    @rule(user=users, guild=guilds, named=st.booleans())
    def join(self, user: str, guild: str, named: bool) -> None:
        """
        Somebody becomes a member.
        """
        audience = Audience(guilds=(guild,), also=(user,))
        number = self._publish("guild_member.add", audience, named, {"userId": user})
        self.ledger.roll.joined(user, guild, number)

    @rule(user=users, guild=guilds, named=st.booleans())
    def leave(self, user: str, guild: str, named: bool) -> None:
        """
        Somebody is removed.
        """
        audience = Audience(guilds=(guild,), also=(user,))
        number = self._publish("guild_member.remove", audience, named, {"userId": user})
        self.ledger.roll.left(user, guild, number)

    @rule(guild=guilds, named=st.booleans())
    def delete(self, guild: str, named: bool) -> None:
        """
        A guild is no more.
        """
        number = self._publish("guild.delete", Audience(guilds=(guild,)), named)
        self.ledger.roll.deleted(guild, number)

    # How it gets around.

    @rule(most=few)
    def give(self, most: int) -> None:
        """
        The broker gives its active consumer something.
        """
        self.broker.give(most)

    @rule(number=which)
    def carry(self, number: int) -> None:
        """
        What an instance publishes arrives in the log.
        """
        self.instance(number).bus.carry()

    @rule(number=which)
    def answer(self, number: int) -> None:
        """
        It learns that it did.
        """
        self.instance(number).bus.answer()

    @rule(most=few)
    def flush(self, most: int) -> None:
        """
        Acknowledgements arrive.
        """
        self.broker.flush(most)

    @rule()
    def turn(self) -> None:
        """
        The reactors have a turn.
        """
        self.clock.advance(0)

    @rule()
    def flow(self) -> None:
        """
        All that is under way arrives.
        """
        moved = True
        while moved:
            moved = self.broker.give()
            for instance in self.instances:
                while instance.bus.carry() or instance.bus.answer():
                    moved = True
            moved = self.broker.flush() or moved
        self.clock.advance(0)

    @rule(seconds=st.sampled_from([0.001, 0.4, 2.0, 8.0]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.clock.advance(seconds)
        for instance in self.instances:
            instance.tick()

    # What clients do.

    @rule(number=which, at=which, fresh=st.booleans())
    def come(self, number: int, at: int, fresh: bool) -> None:
        """
        A client connects.
        """
        client = self.client(number)
        if client.connection is None:
            client.come(self.instance(at), fresh)

    @rule(number=which, most=few)
    def read(self, number: int, most: int) -> None:
        """
        A client reads some of what was sent.
        """
        self.client(number).read(most)

    @rule()
    def read_all(self) -> None:
        """
        All clients read everything.
        """
        for client in self.clients:
            client.read()

    @rule(number=which)
    def vanish(self, number: int) -> None:
        """
        A client's connection is lost.
        """
        self.client(number).vanish()

    @rule(number=which)
    def ask(self, number: int) -> None:
        """
        A client gets a new token, shows it, and asks for the guilds that it has not.
        """
        client = self.client(number)
        client.read()
        account = client.account
        if client.connection is None:
            return
        client.say("authenticate", token=client.renew())
        for guild in sorted(account.claims - account.guilds):
            account.subscribes(guild)
            client.say("guild_subscribe", guildId=guild)

    # What goes wrong.

    @rule(number=which)
    def kill(self, number: int) -> None:
        """
        An instance dies, and another takes its place.
        """
        dying = self.instance(number)
        self.instances.remove(dying)
        dying.die()
        for client in self.clients:
            if client.connection is not None and client.connection in dying.census:
                client.vanish()
        self.instances.append(self._instance())

    @rule(number=which, unnoticed=st.booleans())
    def lose_broker(self, number: int, unnoticed: bool) -> None:
        """
        An instance's connection to the broker is lost.
        """
        self.instance(number).lose_broker(unnoticed)

    @rule(number=which)
    def notice(self, number: int) -> None:
        """
        An instance finds out that it was.
        """
        self.instance(number).notice()

    @rule(number=which)
    def deafen(self, number: int) -> None:
        """
        An instance is told nothing for a while.
        """
        self.instance(number).ear.deaf = True

    @rule(number=which)
    def listen(self, number: int) -> None:
        """
        It hears what it has missed.
        """
        self.instance(number).ear.listen()

    @rule(number=which)
    def lose(self, number: int) -> None:
        """
        It finds that this is not to be had any more.
        """
        self.instance(number).ear.lose()
        for client in self.clients:
            # Of a removal that was lost with the rest nobody can know, so that a token from
            # before would let one in.
            client.token = None

    @rule(number=which)
    def send_away(self, number: int) -> None:
        """
        An instance asks a client to go elsewhere.
        """
        connection = self.client(number).connection
        if connection is not None:
            connection.end(closing.GOING_AWAY)

    # What holds.

    @invariant()
    def kept(self) -> None:
        """
        Nothing has happened that may not.
        """
        assert not self.ledger.counts, self.ledger.verdict()

    def _settle(self) -> None:
        """
        All clients are there, and all that is under way arrives.
        """
        for number, client in enumerate(self.clients):
            if client.connection is None:
                client.come(self.instance(number), fresh=True)
        for _ in range(3):
            self.flow()
            self.read_all()

    def teardown(self) -> None:
        """
        In the end everybody has all that was for them.
        """
        for instance in self.instances:
            instance.ear.listen()
            instance.notice()
        self._settle()
        last = self._publish("message.create", Audience(users=USERS), True)
        for _ in range(10):
            self._settle()
        for client in self.clients:
            assert client.account.had == last, f"{client.account.name} never came up to {last}"
        self.ledger.close()
        self.kept()


class PromiseTests(SynchronousTestCase):
    """
    The state machine, run.
    """

    def test_promise(self) -> None:
        """
        Whatever is published, lost, killed and found, each client gets what is for it, once, in
        order, or is told that it may not have.
        """
        limits = settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(Cluster, settings=limits)
        except Exception as error:
            # trial does not show what hypothesis notes: the steps to it.
            steps = "\n".join(getattr(error, "__notes__", ()))
            raise self.failureException(f"{error}\n{steps}") from None
