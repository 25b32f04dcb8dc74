"""
Publishing events over HTTP.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from gatewayd.errors import BadEnvelopes, Busy, Stopped
from gatewayd.model import Position
from tests.wire.http_case import (
    BEARER,
    CallsTestCase,
)


class PublishTests(CallsTestCase):
    """
    C{POST /events}.
    """

    def test_one(self) -> None:
        """
        One envelope is handed on byte for byte, and its id comes back.
        """
        envelope = b'{ "event":"m", "data":{"n": 1.0e+2,\t"s":"\\u00e9"} }'
        answer = self.publish(b" \r\n" + envelope + b"\n")
        self.assertEqual((answer.status, answer.json()), (202, {"ids": ["1000-0"]}))
        self.assertEqual(self.operations.asked, [("publish", [envelope])])

    def test_several(self) -> None:
        """
        The envelopes of a list are handed on byte for byte, in order, in one call; one that
        is ephemeral has no id.
        """
        self.operations.outcomes["publish"] = [Position(5, 0), None]
        answer = self.publish(b' [ {"event" : "a" },\n{"event":"b","data":{"x" : 1.50}} ] ')
        self.assertEqual((answer.status, answer.json()), (202, {"ids": ["5-0", None]}))
        self.assertEqual(
            self.operations.asked,
            [("publish", [b'{"event" : "a" }', b'{"event":"b","data":{"x" : 1.50}}'])],
        )

    @given(
        st.lists(
            st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"])),
                st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"]))),
            ),
            min_size=1,
            max_size=20,
        ),
        st.sampled_from([(",", ":"), (" , ", " :\t"), (",\r\n", ": ")]),
        st.booleans(),
    )
    def test_any_list(
        self, envelopes: list[dict[str, Any]], separators: tuple[str, str], ascii_only: bool
    ) -> None:
        """
        Whatever the envelopes are and however they are spaced, each arrives as it was.
        """
        self.operations.asked.clear()
        texts = [
            json.dumps(envelope, separators=separators, ensure_ascii=ascii_only).encode()
            for envelope in envelopes
        ]
        answer = self.publish(b"[" + separators[0].encode().join(texts) + b"]")
        self.assertEqual(answer.status, 202)
        self.assertEqual(self.operations.asked, [("publish", texts)])

    def test_none(self) -> None:
        """
        An empty list publishes nothing, and that succeeds.
        """
        answer = self.publish(b"[]")
        self.assertEqual((answer.status, answer.json()), (202, {"ids": []}))
        self.assertEqual(self.operations.asked, [])

    def test_not_json(self) -> None:
        """
        What is not exactly one JSON value is a 400, and nothing is published.
        """
        deep = b"[" * 100_000 + b"]" * 100_000
        deep_object = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        for body in (b"", b"  ", b"{", b'{"a":1}x', b"[{}]]", b"[{},]", b"nope", deep, deep_object):
            self.problem(self.publish(body), 400)
        self.assertEqual(self.operations.asked, [])

    def test_too_many(self) -> None:
        """
        A thousand events at once are taken; one more is a 413.
        """
        self.assertEqual(self.publish(b"[" + b",".join([b"{}"] * 1000) + b"]").status, 202)
        self.operations.asked.clear()
        self.problem(self.publish(b"[" + b",".join([b"{}"] * 1001) + b"]"), 413)
        self.assertEqual(self.operations.asked, [])

    def test_bad_envelopes(self) -> None:
        """
        What cannot become events is named by its index, with the reason.
        """
        self.operations.outcomes["publish"] = BadEnvelopes({2: "no name", 0: "no audience"})
        told = self.problem(self.publish(b"[{},{},{}]"), 400)
        self.assertEqual(
            told["errors"],
            [{"index": 0, "reason": "no audience"}, {"index": 2, "reason": "no name"}],
        )
        self.assertIn("bad-envelopes", told["type"])

    def test_not_now(self) -> None:
        """
        A gateway that is busy or going away is a 503 that says when to come back, and the
        two can be told apart.
        """
        types = set()
        for error in (Busy("the bus is away"), Stopped()):
            self.operations.outcomes["publish"] = error
            answer = self.publish(b"{}")
            types.add(self.problem(answer, 503)["type"])
            self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.assertEqual(len(types), 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_media_types(self) -> None:
        """
        JSON under any of its names is taken, and so is a body without one, or with the one that
        curl gives it unasked; another type is a 415 that names what is taken.
        """
        for media in (
            *("application/json", "Application/JSON; charset=utf-8", "application/x+json"),
            "application/x-www-form-urlencoded",
        ):
            self.assertEqual(self.publish(b"{}", Content_Type=media).status, 202, media)
        self.operations.asked.clear()
        for media in ("text/plain", "text/html", "application/jsonp", "x"):
            answer = self.publish(b"{}", Content_Type=media)
            self.problem(answer, 415)
            self.assertEqual(answer.headers["accept"], "application/json")
        self.assertEqual(self.operations.asked, [])

    def test_our_fault(self) -> None:
        """
        An error nobody foresaw is a 500 that tells the client nothing but an id, under
        which the log has it once.
        """
        self.operations.outcomes["publish"] = ZeroDivisionError("the secret recipe")
        answer = self.publish(b"{}")
        told = self.problem(answer, 500)
        self.assertNotIn(b"secret", answer.body)
        self.assertNotIn(b"ZeroDivision", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        logged = [event for event in self.events if event["log_level"] is LogLevel.critical]
        self.assertEqual([event["instance"] for event in logged], [told["instance"]])

    def test_no_answer(self) -> None:
        """
        An operation that does not answer in time is a 504, and goes on: it is not
        cancelled half-way.
        """
        cancelled: list[object] = []
        work: Deferred[list[Position | None]] = Deferred(cancelled.append)
        self.operations.outcomes["publish"] = work
        begun = self.begin("POST", "/events", data=b"{}", headers=BEARER)
        self.clock.advance(14.9)
        self.treq.flush()
        self.assertNoResult(begun)
        self.clock.advance(0.2)
        self.problem(self.settle(begun), 504)
        work.callback([Position(1, 0)])
        self.assertEqual(cancelled, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
