"""
Whatever goes wrong with RabbitMQ is told in one sentence: what, where, and what to do.
"""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis.strategies import integers, sampled_from, text
from pika import exceptions
from twisted.internet import defer, error
from twisted.trial.unittest import SynchronousTestCase

from gatewayd.source.reasons import LONGEST, Account, Progress, explain

HERE = Account("mq.example:5672", "gateway", "/chat", False)
NOWHERE, CONNECTED, SPEAKING = Progress


class ReasonsTests(SynchronousTestCase):
    """
    What is told of an error.
    """

    def told(
        self, cause: BaseException, progress: Progress = SPEAKING, *, tls: bool = False
    ) -> str:
        """
        The sentence.
        """
        return explain(cause, HERE._replace(tls=tls), progress)

    def test_what_keeps_us_from_connecting(self) -> None:
        """
        Before there is a connection, it is the way there, and the URL that names it.
        """
        begin = "cannot connect to RabbitMQ at mq.example:5672: "
        for cause, why in (
            (error.DNSLookupError(), "its name is not known; check the host in [rabbitmq] url"),
            (
                error.ConnectionRefusedError(),
                "nothing listens there; is RabbitMQ running, is [rabbitmq] url right?",
            ),
            (error.TimeoutError(), "it does not answer"),
            (error.TCPTimedOutError(), "it does not answer"),
            (error.NoRouteError(113, "No route"), "NoRouteError: ('No route',)"),
            (socket.gaierror(-2, "unknown"), "gaierror: (-2, 'unknown')"),
        ):
            self.assertEqual(self.told(cause, NOWHERE), begin + why)

    def test_who_does_not_speak_amqp(self) -> None:
        """
        Where something listens that is no AMQP broker, or speaks TLS when we do not, or the
        other way round, the guess is in the question.
        """
        for tls, guess in (
            (False, "is it RabbitMQ, and not its TLS port?"),
            (True, "does it speak TLS?"),
        ):
            for cause in (error.ConnectionDone(), error.ConnectionLost()):
                self.assertEqual(
                    self.told(cause, CONNECTED, tls=tls),
                    f"mq.example:5672 closed the connection before it spoke AMQP; {guess}",
                )
        for silent in (TimeoutError(), defer.TimeoutError()):
            self.assertEqual(
                self.told(silent, CONNECTED),
                "mq.example:5672 accepted the connection and then said nothing",
            )
        mismatch = exceptions.IncompatibleProtocolError("0-8")
        self.assertEqual(
            self.told(mismatch, CONNECTED),
            "AMQP with mq.example:5672 failed: IncompatibleProtocolError: ('0-8',)",
        )
        self.assertIn("TLS with mq.example:5672 failed", self.told(mismatch, CONNECTED, tls=True))

    def test_how_a_connection_ends(self) -> None:
        """
        One that was in use falls silent, is lost, or ends with an error of pika's.
        """
        for cause in (
            exceptions.AMQPHeartbeatTimeout("no frame"),
            TimeoutError("nothing heard"),
            defer.TimeoutError(),
        ):
            self.assertEqual(self.told(cause), "RabbitMQ at mq.example:5672 has fallen silent")
        for cause in (error.ConnectionDone(), error.ConnectionLost()):
            self.assertEqual(
                self.told(cause), "the connection to RabbitMQ at mq.example:5672 was lost"
            )
        self.assertEqual(
            self.told(exceptions.UnexpectedFrameError("odd")),
            "RabbitMQ at mq.example:5672: UnexpectedFrameError: ('odd',)",
        )

    def test_a_refused_login(self) -> None:
        """
        It names the user, and not the password.
        """
        closed = exceptions.ConnectionClosedByBroker(
            403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
        )
        self.assertEqual(
            self.told(closed),
            "RabbitMQ at mq.example:5672 refused the login of user 'gateway': "
            "check user and password in [rabbitmq] url",
        )

    def test_a_refused_virtual_host(self) -> None:
        """
        It names the virtual host and the user, and what RabbitMQ said.
        """
        closed = exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost /chat not found")
        self.assertEqual(
            self.told(closed),
            "RabbitMQ at mq.example:5672 refused virtual host '/chat' "
            "(NOT_ALLOWED - vhost /chat not found): check it in [rabbitmq] url, and the "
            "permissions of user 'gateway'",
        )

    def test_any_other_end_by_the_broker(self) -> None:
        """
        Its own words are told, with the code.
        """
        closed = exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown")
        self.assertEqual(
            self.told(closed),
            "RabbitMQ at mq.example:5672 closed the connection: CONNECTION_FORCED - shutdown (320)",
        )

    def test_what_the_broker_refuses(self) -> None:
        """
        A refused command says what to change, where that is known.
        """
        begin = "RabbitMQ at mq.example:5672 refused: "
        inequivalent = "PRECONDITION_FAILED - inequivalent arg "
        other = "it exists with other properties: delete it there, or set another in [rabbitmq]"
        exchange = "set [rabbitmq] exchange_type to what exists, or exchange to another name"
        kind = f"{inequivalent}'type' for exchange 'e'"
        for code, words, advice in (
            (403, "ACCESS_REFUSED", "; give user 'gateway' that permission"),
            (
                404,
                "NOT_FOUND",
                "; it has been deleted, or [rabbitmq] names the wrong one",
            ),
            (406, f"{inequivalent}'durable' for queue 'q'", f"; {other}"),
            (406, kind, f"; {exchange}"),
            (406, "PRECONDITION_FAILED - unknown delivery tag 7", ""),
            (540, "NOT_IMPLEMENTED", ""),
        ):
            closed = exceptions.ChannelClosedByBroker(code, words)
            self.assertEqual(self.told(closed), f"{begin}{words} ({code}){advice}")

    def test_a_consumer_that_was_cancelled(self) -> None:
        """
        It says why a broker does that.
        """
        self.assertEqual(
            self.told(exceptions.ConsumerCancelled()),
            "RabbitMQ at mq.example:5672 cancelled our consumer: "
            "its queue was deleted, or moved to another node",
        )

    @given(
        sampled_from(
            [
                exceptions.ConnectionClosedByBroker,
                exceptions.ChannelClosedByBroker,
                lambda code, words: error.ConnectionLost(words),
                lambda code, words: OSError(code, words),
                lambda code, words: ValueError(words),
                lambda code, words: exceptions.ProtocolSyntaxError(words),
            ]
        ),
        sampled_from([403, 404, 406, 530]) | integers(0, 999),
        text(max_size=2 * LONGEST) | sampled_from(["Login\r\nwas", "x" * 5_000, " \n "]),
        sampled_from(Progress),
    )
    def test_is_one_line_whatever_it_is(
        self,
        kind: type[BaseException],
        code: int,
        words: str,
        progress: Progress,
    ) -> None:
        """
        Whatever the other side says, and however much, it is told on one line of bounded
        length, with the address.
        """
        told = self.told(kind(code, words), progress)
        self.assertEqual(len(told.splitlines()), 1)
        self.assertIn("mq.example:5672", told)
        self.assertLess(len(told), LONGEST + 300)
