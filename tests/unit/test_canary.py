"""
Tests for L{gatewayd.canary}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gatewayd import envelope
from gatewayd.canary import EAGER, INTERVAL, NAME, PATIENCE, Canary
from gatewayd.errors import Busy
from gatewayd.interfaces import IEventSource, IReadiness
from gatewayd.metrics import Metrics


@implementer(IEventSource)
class Exchange:
    """
    A source that keeps what is posted.

    @ivar posted: bodies.
    @ivar error: what posting fails with, if anything.
    """

    name = "rabbitmq"

    def __init__(self) -> None:
        self.posted: list[bytes] = []
        self.condition = "ok"
        self.error: Exception | None = None

    def start(self, receiver: object) -> None:
        """
        See L{IEventSource}.
        """

    def status(self) -> dict[str, Any]:
        """
        See L{IEventSource}.
        """
        return {"status": self.condition}

    def post(self, body: bytes, key: str) -> Deferred[None]:
        """
        See L{IEventSource}.
        """
        if self.error is not None:
            return fail(self.error)
        self.posted.append(body)
        return succeed(None)

    def pause(self) -> Deferred[None]:
        """
        See L{IEventSource}.
        """
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """
        See L{IEventSource}.
        """
        return succeed(None)


class CanaryTests(SynchronousTestCase):
    """
    Health goes by what comes through.
    """

    def setUp(self) -> None:
        """
        One canary, and where it sings.
        """
        self.clock = Clock()
        self.exchange = Exchange()
        self.metrics = Metrics()
        self.canary = Canary("here", self.exchange, self.exchange, self.clock, self.metrics)

    def come(self, body: bytes) -> None:
        """
        Let a posted message arrive as an event.
        """
        event = envelope.decode(body, uid="u", now=0.0, ephemeral=frozenset({NAME}))
        self.assertTrue(event.ephemeral)
        self.canary.heard(event)

    def test_interfaces(self) -> None:
        """
        It is one of the things that the gateway depends on.
        """
        self.assertTrue(verifyObject(IReadiness, self.canary))
        self.assertTrue(verifyObject(IEventSource, self.exchange))

    def test_not_before_the_first(self) -> None:
        """
        Until one has come through, events are not known to.
        """
        self.canary.start()
        self.assertEqual(self.canary.status()["status"], "connecting")
        self.come(self.exchange.posted[0])
        self.assertEqual(self.canary.status()["status"], "ok")

    def test_delay(self) -> None:
        """
        The time from sending to hearing is told, and measured.
        """
        self.canary.start()
        self.clock.advance(0.125)
        self.come(self.exchange.posted[0])
        self.assertEqual(self.canary.status()["delay"], 0.125)
        count = self.metrics.registry.get_sample_value("gatewayd_canary_delay_seconds_count")
        self.assertEqual(count, 1)

    def test_one_an_interval_while_all_is_well(self) -> None:
        """
        While they come through there is one an interval; while they do not, they are sent
        eagerly.
        """
        self.canary.start()
        self.come(self.exchange.posted[-1])
        self.clock.advance(EAGER)
        self.come(self.exchange.posted[-1])
        for count in range(2, 6):
            self.clock.advance(INTERVAL)
            self.assertEqual(len(self.exchange.posted), count + 1)
            self.come(self.exchange.posted[-1])
        self.clock.pump([INTERVAL] * 3 + [EAGER] * 4)
        self.assertGreater(len(self.exchange.posted), 9)

    def test_silence(self) -> None:
        """
        When none has come for a while, events do not come through, whatever the sockets say;
        when one does, they do again.
        """
        self.canary.start()
        self.come(self.exchange.posted[0])
        self.clock.pump([0.5] * int(PATIENCE * 2 + 1))
        status = self.canary.status()
        self.assertEqual(status["status"], "connecting")
        self.assertIn("no event has come through", status["error"])
        self.come(self.exchange.posted[-1])
        self.assertEqual(self.canary.status()["status"], "ok")

    def test_only_ones_own(self) -> None:
        """
        Another instance's says nothing, nor does one that was never sent, one that is heard
        twice, or one that is none.
        """
        other = Canary("there", Exchange(), self.exchange, self.clock, Metrics())
        other.start()
        self.canary.start()
        assert isinstance(other.source, Exchange)
        [body] = other.source.posted
        self.come(body)
        self.come(self.exchange.posted[0].replace(b'"number":1', b'"number":7'))
        self.come(b'{"event": "%s", "userIds": ["u"], "data": [1]}' % NAME.encode())
        self.assertEqual(self.canary.status()["status"], "connecting")

    def test_not_sent_after_what_is_lost(self) -> None:
        """
        While an upstream is known to be away, none is sent.
        """
        self.exchange.condition = "connecting"
        self.canary.start()
        self.clock.pump([1] * 10)
        self.assertEqual(self.exchange.posted, [])
        self.exchange.condition = "ok"
        self.clock.advance(EAGER)
        self.assertEqual(len(self.exchange.posted), 1)

    def test_one_that_is_not_taken(self) -> None:
        """
        That one could not be posted is no fault to log; the next is sent in its turn.
        """
        self.exchange.error = Busy("no room")
        self.canary.start()
        self.exchange.error = None
        self.clock.advance(EAGER)
        self.assertEqual(len(self.exchange.posted), 1)

    def test_stop(self) -> None:
        """
        After a stop nothing is sent, and nothing left behind.
        """
        self.canary.start()
        self.canary.stop()
        self.canary.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
