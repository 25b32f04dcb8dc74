"""
A client's core: every wait has an end, nothing of an old connection reaches a new one, and what
the application wants outlives them all.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    builds,
    floats,
    integers,
    just,
    lists,
    one_of,
    sampled_from,
    tuples,
)
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.client.core import LONGEST_ADVICE, MAX_REFUSALS, Core
from gatewayd.client.dialogue import RENEW_AGAIN
from gatewayd.client.effects import (
    Ask,
    Drop,
    Effect,
    Emit,
    Keep,
    Open,
    Send,
    Settle,
    State,
    StateChange,
)
from gatewayd.client.errors import ClientError
from gatewayd.client.inputs import (
    Awake,
    Close,
    Connect,
    Input,
    Leave,
    Lost,
    Network,
    NoToken,
    Opened,
    Text,
    Tick,
    Token,
    Want,
)
from gatewayd.client.options import Identity, Timing
from gatewayd.client.verdict import NORMAL, OURS
from gatewayd.closing import TABLE, ComeBack

TIMING = Timing()


def said(event: str, /, **more: Any) -> str:
    """
    A message of the gateway's, with members of C{data} or, as C{id_} and C{guild}, beside it.
    """
    message: dict[str, Any] = {"event": event}
    for name, key in (("id_", "id"), ("guild", "guildId")):
        if name in more:
            message[key] = more.pop(name)
    return json.dumps(message | {"data": more})


class Life:
    """
    A core, its clock, and everything it had done. It never has two sockets.
    """

    def __init__(
        self,
        token: str | None = "t0",
        guilds: tuple[str, ...] = ("g1",),
        timing: Timing = TIMING,
        random: float = 0.5,
        last: str | None = None,
    ) -> None:
        identity = Identity(user_id="u1", token=token)
        self.core = Core(identity, guilds, timing, lambda: random, last)
        self.now = 1000.0
        self.attempt = 0
        self.socket = False
        self.done: list[Effect] = []

    def take(self, happened: Input) -> list[Effect]:
        """
        Let it happen.
        """
        effects = self.core.receive(happened, self.now)
        if isinstance(happened, Lost) and happened.attempt == self.attempt:
            self.socket = False
        for effect in effects:
            if isinstance(effect, Open):
                assert not self.socket, "a second socket beside the first"
                self.socket = True
                self.attempt = effect.attempt
            elif isinstance(effect, Drop):
                assert self.socket, "it lets go of a socket that it has not"
                self.socket = False
        self.done += effects
        return effects

    def hear(self, event: str, /, **data: Any) -> list[Effect]:
        """
        The gateway says something.
        """
        return self.take(Text(self.attempt, said(event, **data)))

    def after(self, seconds: float) -> list[Effect]:
        """
        Time passes, and a timer fires.
        """
        self.now += seconds
        return self.take(Tick())

    def wait(self) -> list[Effect]:
        """
        As much time passes as the core asks for.
        """
        wait = self.core.wait
        assert wait is not None, "it waits for nothing"
        return self.after(wait)

    def identify(self) -> list[Effect]:
        """
        From an open request for a socket to C{identify}.
        """
        self.take(Opened(self.attempt))
        return self.hear("ready", heartbeatInterval=30_000)

    def live(self, **identified: Any) -> list[Effect]:
        """
        From there to a live session.
        """
        self.identify()
        usual = {"guildIds": list(self.core._subscriptions.wanted), "denied": []}
        return self.hear("identified", **(usual | {"lastEventId": "0-0"} | identified))


def commands(effects: list[Effect]) -> list[dict[str, Any]]:
    """
    What was sent.
    """
    return [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]


def heard(effects: list[Effect], name: str) -> list[Any]:
    """
    The data that listeners for C{name} get.
    """
    return [one.data for one in effects if isinstance(one, Emit) and one.meta.name == name]


def ready(**options: Any) -> Life:
    """
    A client with a live session.
    """
    life = Life(**options)
    life.take(Connect())
    if options.get("token", "t0") is None:
        life.take(Token("t1"))
    life.live()
    return life


class AttemptTests(SynchronousTestCase):
    """
    The way to a live session, and how each step of it can fail.
    """

    def test_states_in_order(self) -> None:
        """
        A client goes from idle over connecting and identifying to ready.
        """
        life = ready()
        changes: list[StateChange] = heard(life.done, "state")
        self.assertEqual(
            [change.state for change in changes], ["connecting", "identifying", "ready"]
        )
        self.assertEqual(
            [change.previous for change in changes], ["idle", "connecting", "identifying"]
        )

    def test_every_step_has_an_end(self) -> None:
        """
        A token, a socket, a ready or an identified that does not come ends the attempt when its
        time is over, with an error that names it; a socket that may exist is let go.
        """
        for steps, timeout, code, dropped in (
            (0, TIMING.token_timeout, "token_timeout", False),
            (1, TIMING.connect_timeout, "connect_timeout", True),
            (2, TIMING.ready_timeout, "ready_timeout", True),
            (3, TIMING.identify_timeout, "identify_timeout", True),
        ):
            life = Life(token=None)
            life.take(Connect())
            if steps > 0:
                life.take(Token("t1"))
            if steps > 1:
                life.take(Opened(life.attempt))
            if steps > 2:
                life.hear("ready")
            self.assertEqual(life.core.wait, timeout)
            self.assertEqual(life.after(timeout - 0.01), [])
            effects = life.after(0.01)
            self.assertEqual([error.code for error in heard(effects, "error")], [code])
            self.assertEqual(
                [one.code for one in effects if isinstance(one, Drop)], [OURS] * dropped
            )
            self.assertEqual(life.core.state, State.WAITING)

    def test_the_old_is_not_heard(self) -> None:
        """
        Whatever is told of an earlier attempt's socket does nothing at all.
        """
        life = ready()
        old = life.attempt
        life.take(Lost(old))
        life.wait()
        for late in (
            Opened(old),
            Text(old, said("ready")),
            Text(old, said("message.create", id_="1-0")),
            Lost(old, 4001),
        ):
            self.assertEqual(life.take(late), [])
        life.live()
        self.assertEqual(life.take(Lost(old, 4022)), [])
        self.assertEqual(life.core.state, State.READY)

    def test_waits_grow_and_are_bounded(self) -> None:
        """
        With the highest draw the waits double from the first bound to the last; a session that
        lasted begins anew, and one that did not goes on.
        """
        life = Life(random=1.0)
        life.take(Connect())
        waits = []
        for _ in range(7):
            waits.append(heard(life.take(Lost(life.attempt)), "state")[0].retry_in)
            life.wait()
        self.assertEqual(waits, [1, 2, 4, 8, 16, 30, 30])
        life.live()
        life.now += TIMING.stable - 1
        self.assertEqual(heard(life.take(Lost(life.attempt)), "state")[0].retry_in, 30)
        life.wait()
        life.live()
        life.now += TIMING.stable
        self.assertEqual(heard(life.take(Lost(life.attempt)), "state")[0].retry_in, 1)

    def test_full_jitter(self) -> None:
        """
        A wait may be anything from nothing to the bound.
        """
        for draw in (0.0, 0.25, 0.75):
            life = Life(random=draw)
            life.take(Connect())
            self.assertEqual(heard(life.take(Lost(life.attempt)), "state")[0].retry_in, draw)

    def test_retry_after_is_a_floor(self) -> None:
        """
        A refusal with an advised wait is followed by at least that wait, plus a drawn one, and
        no hint that the network is back cuts it short.
        """
        life = Life()
        life.take(Connect())
        error = ClientError("upgrade_refused", "503", status=503, retry_after=20.0)
        life.take(Lost(life.attempt, error=error))
        wait = life.core.wait
        assert wait is not None
        self.assertGreater(wait, 20.0)
        life.now += 1
        life.take(Network(True))
        self.assertEqual(life.core.state, State.WAITING)
        # What was drawn on top is not the server's, and is given up.
        self.assertAlmostEqual(life.core.wait or 0, wait - 1)

    def test_advice_is_bounded(self) -> None:
        """
        No server can make a client wait for ever.
        """
        life = Life()
        life.take(Connect())
        error = ClientError("upgrade_refused", "503", status=503, retry_after=1e12)
        life.take(Lost(life.attempt, error=error))
        self.assertLessEqual(life.core.wait or 0, LONGEST_ADVICE + TIMING.max_delay)

    def test_connect_twice(self) -> None:
        """
        To connect while connected changes nothing; while waiting it tries at once.
        """
        life = ready()
        self.assertEqual(life.take(Connect()), [])
        life.take(Lost(life.attempt))
        self.assertIn(Open(life.attempt + 1), life.take(Connect()))

    def test_close_ends_everything(self) -> None:
        """
        A closed client has let its socket go, waits for nothing and answers nothing.
        """
        life = ready()
        self.assertIn(Drop(NORMAL, ""), life.take(Close()))
        self.assertIsNone(life.core.wait)
        self.assertEqual(life.take(Tick()) + life.take(Close()) + life.take(Network(True)), [])
        self.assertEqual(life.take(Lost(life.attempt)), [])

    def test_resumes_after_close(self) -> None:
        """
        A client that is connected again resumes from where it was closed.
        """
        life = ready()
        life.hear("message.create", id_="4-0")
        life.take(Close())
        life.take(Connect())
        (identify,) = commands(life.identify())
        self.assertEqual(identify["data"]["lastEventId"], "4-0")


class VerdictTests(SynchronousTestCase):
    """
    The close-code table decides.
    """

    def test_every_code(self) -> None:
        """
        For each row of the table, a client with a token by value comes back just where the row
        says so and needs no new token, and one with a function also where it needs one.
        """
        for row in TABLE:
            renewable = row.come_back in (ComeBack.NEW_TOKEN, ComeBack.NEW_TOKEN_RESUME)
            by_value = ready()
            by_value.take(Lost(by_value.attempt, row.code, row.reason))
            final = row.come_back is ComeBack.NO
            expected = State.CLOSED if final or renewable else State.WAITING
            self.assertEqual(by_value.core.state, expected, row)
            by_function = ready(token=None)
            by_function.take(Lost(by_function.attempt, row.code, row.reason))
            expected = State.CLOSED if final else State.WAITING
            self.assertEqual(by_function.core.state, expected, row)

    def test_later_waits(self) -> None:
        """
        Where the table asks for a wait there is one, whatever is drawn.
        """
        for code in (4008, 4023):
            life = ready(random=0.0)
            life.take(Lost(life.attempt, code))
            self.assertEqual(life.core.wait, TIMING.later_delay)

    def test_the_end_tells_why(self) -> None:
        """
        The error that ends a client holds the close code and its reason.
        """
        life = ready()
        effects = life.take(Lost(life.attempt, 4022, "disconnected by an operator"))
        (change,) = heard(effects, "state")
        self.assertEqual(change.error.close_code, 4022)
        self.assertIn("disconnected by an operator", change.error.message)


class LivenessTests(SynchronousTestCase):
    """
    A server that falls silent.
    """

    def test_asks_before_it_leaves(self) -> None:
        """
        After a quarter more than the heartbeat interval the gateway is asked; any word from it is
        an answer; without one the connection is left.
        """
        life = ready()
        self.assertEqual(life.core.wait, 37.5)
        self.assertEqual(commands(life.wait()), [{"event": "heartbeat", "data": {}}])
        life.now += 1
        life.hear("typing.start")
        self.assertEqual(life.core.wait, 37.5)
        life.wait()
        self.assertEqual(life.core.wait, TIMING.probe_timeout)
        effects = life.wait()
        self.assertEqual([one.code for one in effects if isinstance(one, Drop)], [OURS])
        self.assertEqual(heard(effects, "error")[0].code, "silent")

    def test_a_leap_is_no_silence(self) -> None:
        """
        A clock that leaps by a day costs one question.
        """
        life = ready()
        self.assertEqual(commands(life.after(86_400)), [{"event": "heartbeat", "data": {}}])
        life.hear("heartbeat_ack")
        self.assertEqual(life.core.state, State.READY)

    def test_a_clock_set_back_stands_still(self) -> None:
        """
        After a clock was set back, a wait is as long as it was.
        """
        life = ready()
        life.after(-86_400)
        self.assertEqual(life.core.wait, 37.5)
        self.assertEqual(len(commands(life.wait())), 1)

    def test_awake_asks_once(self) -> None:
        """
        Waking up asks at once, and not again while the answer is awaited.
        """
        life = ready()
        self.assertEqual(len(commands(life.take(Awake()) + life.take(Network(True)))), 1)
        life.after(TIMING.probe_timeout)
        self.assertEqual(life.core.state, State.WAITING)

    def test_offline_waits(self) -> None:
        """
        An offline client does not try before the longest wait is over, and then does, for
        operating systems are wrong at times; online again it tries at once.
        """
        life = ready()
        life.take(Network(False))
        life.take(Lost(life.attempt))
        self.assertEqual(life.core.wait, TIMING.max_delay)
        life.wait()
        self.assertEqual(life.core.state, State.CONNECTING)
        life.take(Lost(life.attempt))
        life.take(Network(True))
        self.assertEqual(life.core.state, State.CONNECTING)


class TokenTests(SynchronousTestCase):
    """
    The token function.
    """

    def test_once_at_a_time(self) -> None:
        """
        However many attempts and renewals want one, there is one call until it has answered.
        """
        life = Life(token=None, random=0.0)
        asked = life.take(Connect()).count(Ask())
        for _ in range(6):
            asked += life.wait().count(Ask())
        self.assertEqual(asked, 1)
        life.take(Token("t1"))
        life.live()
        asked = life.hear("token_expiring", expiresIn=1).count(Ask())
        asked += life.hear("token_expiring", expiresIn=1).count(Ask())
        life.take(Lost(life.attempt))
        asked += life.wait().count(Ask())
        self.assertEqual(asked, 1)
        self.assertIn(Open(life.attempt + 1), life.take(Token("t2")))

    def test_a_late_token_is_used(self) -> None:
        """
        A token that comes while the client waits serves the next attempt, once.
        """
        life = Life(token=None)
        life.take(Connect())
        life.wait()
        self.assertEqual(life.take(Token("t1")), [])
        self.assertNotIn(Ask(), life.wait())
        (identify,) = commands(life.identify())
        self.assertEqual(identify["data"]["token"], "t1")
        life.take(Lost(life.attempt))
        self.assertIn(Ask(), life.wait())

    def test_renews_in_place(self) -> None:
        """
        A token that expires is renewed with authenticate; a function that fails or gives the same
        one is asked again, and so is one whose token the gateway does not take.
        """
        life = ready(token=None)
        self.assertIn(Ask(), life.hear("token_expiring", expiresIn=60_000))
        for failure in (
            NoToken(ClientError("token_failed", "no")),
            Token("t1"),
        ):
            self.assertEqual(len(heard(life.take(failure), "error")), 1)
            self.assertIn(Ask(), life.after(RENEW_AGAIN))
        sent = commands(life.take(Token("t2")))
        self.assertEqual(sent, [{"event": "authenticate", "data": {"token": "t2"}}])
        life.hear("error", code="token_refused", message="no", event="authenticate")
        self.assertIn(Ask(), life.after(RENEW_AGAIN))

    def test_no_token_ever(self) -> None:
        """
        A function that says there will be no token closes the client, also a connected one.
        """
        life = ready(token=None)
        life.hear("token_expiring", expiresIn=60_000)
        life.take(NoToken(ClientError("unauthorized", "logged out"), final=True))
        self.assertEqual(life.core.state, State.CLOSED)

    def test_refusals_are_bounded(self) -> None:
        """
        Fresh tokens that are refused one after the other end the client; a session between two
        of them makes the second a first one.
        """
        life = ready(token=None)
        for number in range(2, 2 + MAX_REFUSALS):
            self.assertEqual(life.core.state, State.READY if number == 2 else State.IDENTIFYING)
            life.take(Lost(life.attempt, 4004))
            if life.core.state is State.WAITING:
                life.wait()
                life.take(Token(f"t{number}"))
                life.identify()
        self.assertEqual(life.core.state, State.CLOSED)


class DialogueTests(SynchronousTestCase):
    """
    What is made of the gateway's words.
    """

    def test_resync_comes_first(self) -> None:
        """
        An application hears that it is live, then what to fetch, then what happened since.
        """
        life = Life(last="1-0")
        life.take(Connect())
        resume = {"recovered": False, "replayed": 0, "resync": ["g1"]}
        effects = life.live(lastEventId="5-0", resume=resume)
        effects += life.hear("message.create", id_="6-0")
        names = [one.meta.name for one in effects if isinstance(one, Emit)]
        self.assertEqual(names, ["state", "resync", "message.create"])

    def test_kept_after_it_was_heard(self) -> None:
        """
        A place is kept after the listeners have had the event, and only when it has changed.
        """
        life = ready()
        effects = life.hear("message.create", id_="6-0")
        self.assertEqual([type(one) for one in effects], [Emit, Keep])
        self.assertEqual(effects[-1], Keep("6-0"))
        self.assertNotIn(Keep("6-0"), life.hear("heartbeat", lastEventId="6-0"))

    def test_guilds_that_do_not_fit(self) -> None:
        """
        Guilds too many for one message are subscribed to when the session is live, at a pace
        that the gateway allows, and an application of a resumed session is told to fetch them.
        """
        guilds = tuple(f"{number:064}" for number in range(300))
        life = Life(guilds=guilds, last="1-0")
        life.take(Connect())
        (identify,) = commands(life.identify())
        first = identify["data"]["guildIds"]
        self.assertLess(len(json.dumps(identify)), 16_384)
        resume = {"recovered": True, "replayed": 0, "resync": []}
        life.hear("identified", guildIds=first, denied=[], lastEventId="1-0", resume=resume)
        began, asked = life.now, commands(life.done)[1:]
        resynced: list[str] = []
        while len(life.core.guild_ids) < len(guilds):
            for command in asked:
                self.assertEqual(command["event"], "guild_subscribe")
                told = life.hear("guild_subscribed", **command["data"])
                resynced += [guild for one in heard(told, "resync") for guild in one.guild_ids]
            self.assertLess(len(first) + len(resynced), len(first) + 40 + life.now - began + 1)
            asked = commands(life.wait())
        self.assertEqual(resynced, list(guilds[len(first) :]))

    def test_drain_leaves_when_told(self) -> None:
        """
        A client told to come back later stays as long, and is then back without a further wait;
        a session that was short waits in spite of that.
        """
        for age, extra in ((TIMING.stable, 0.0), (0.0, 0.5)):
            life = ready()
            life.now += age
            life.hear("reconnect", reason="drain", retryAfter=3000)
            self.assertEqual(life.core.wait, 3.0)
            effects = life.after(3.0)
            if age:
                self.assertIn(Drop(NORMAL, "as asked"), effects)
                self.assertEqual(heard(effects, "state")[0].retry_in, extra)

    def test_words_of_ours(self) -> None:
        """
        An event of the platform is told as such whatever it is called.
        """
        life = ready()
        (emitted,) = (one for one in life.hear("state", id_="1-0") if isinstance(one, Emit))
        self.assertFalse(emitted.local)


def _inputs() -> SearchStrategy[Any]:
    guild = sampled_from(["g1", "g2", "g3"])
    data = {
        "guildIds": ["g1"],
        "denied": [{"guildId": "g2", "reason": "unavailable"}],
        "lastEventId": "3-0",
        "retryAfter": 100,
        "guildId": "g2",
        "event": "guild_subscribe",
        "code": "unavailable",
        "heartbeatInterval": 1000,
    }
    events = sampled_from(
        [
            *("ready", "identified", "heartbeat", "heartbeat_ack", "guild_subscribed"),
            *("guild_unsubscribed", "error", "token_expiring", "reconnect", "message.create"),
        ]
    )
    text = builds(lambda event: json.dumps({"event": event, "id": "7-0", "data": data}), events)
    back = integers(0, 2)
    codes = sampled_from([1000, 1006, 4004, 4006, 4008, 4020])
    return one_of(
        just(Connect()),
        just(Tick()),
        just(Awake()),
        builds(Network, booleans()),
        builds(Want, guild, integers(0, 10**6)),
        builds(Leave, guild, integers(0, 10**6)),
        builds(lambda n: ("opened", n), back),
        builds(lambda n, text: ("text", n, text), back, text),
        builds(lambda n, code: ("lost", n, code), back, codes),
        just(("token",)),
    )


class AnythingTests(SynchronousTestCase):
    """
    Whatever happens, in whatever order.
    """

    @settings(max_examples=150, deadline=None)
    @given(lists(tuples(_inputs(), floats(-5, 50)), max_size=40))
    def test_never_stuck(self, story: list[tuple[Any, float]]) -> None:
        """
        A client that was told to connect is closed, or has something to wait for: a timer, or
        its token function, under a timer. It asks for one token at a time, opens one socket at
        a time, settles everything once, and after its close nothing is left unsettled.
        """
        life = Life(token=None)
        life.take(Connect())
        given_refs: list[int] = []
        tokens = 0
        for what, passed in story:
            life.now += passed
            if isinstance(what, tuple) and not hasattr(what, "_fields"):
                kind, *rest = what
                if kind == "token":
                    if life.done.count(Ask()) == tokens:
                        continue
                    tokens += 1
                    what = Token(f"token {tokens}")
                else:
                    attempt = max(0, life.attempt - rest[0])
                    made = {"opened": Opened, "text": Text, "lost": Lost}[kind]
                    what = made(attempt, *rest[1:])
            if isinstance(what, Want | Leave):
                if what.ref in given_refs:
                    continue
                given_refs.append(what.ref)
            life.take(what)
            self.assertLessEqual(life.done.count(Ask()) - tokens, 1)
            if life.core.state is not State.CLOSED:
                self.assertIsNotNone(life.core.wait)
        life.take(Close())
        settled = [one.ref for one in life.done if isinstance(one, Settle)]
        self.assertEqual(sorted(settled), sorted(given_refs))
        self.assertFalse(life.socket)
        self.assertIsNone(life.core.wait)
