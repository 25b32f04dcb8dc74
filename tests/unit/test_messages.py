"""
Tests for L{gatewayd.messages}: what the gateway itself says.
"""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import envelope, messages
from gatewayd.messages import (
    Authenticated,
    Error,
    GuildSubscribed,
    GuildUnsubscribed,
    Heartbeat,
    HeartbeatAck,
    Identified,
    Message,
    Ready,
    Reconnect,
    Resume,
    TokenExpiring,
)
from gatewayd.model import Denial
from tests.strategies import strings

IDENTIFIED = Identified(
    session_id="s",
    user_id="u1",
    guild_ids=("g2", "g1"),
    denied=(Denial("g3", "forbidden"),),
    last_event_id="17-0",
)
WORDS: dict[str, tuple[Message, dict[str, object]]] = {
    "ready": (
        Ready("s", 30000, 10000, "host-1", "1.0"),
        {
            "sessionId": "s",
            "heartbeatInterval": 30000,
            "identifyTimeout": 10000,
            "instance": "host-1",
            "version": "1.0",
            "protocol": 1,
        },
    ),
    "identified": (
        IDENTIFIED,
        {
            "sessionId": "s",
            "userId": "u1",
            "guildIds": ["g2", "g1"],
            "denied": [{"guildId": "g3", "reason": "forbidden"}],
            "lastEventId": "17-0",
        },
    ),
    "heartbeat": (Heartbeat("17-0"), {"lastEventId": "17-0"}),
    "heartbeat_ack": (HeartbeatAck(), {}),
    "guild_subscribed": (GuildSubscribed("g1"), {"guildId": "g1"}),
    "guild_unsubscribed": (GuildUnsubscribed("g1"), {"guildId": "g1"}),
    "error": (
        Error("unknown_event", "no such event"),
        {"code": "unknown_event", "message": "no such event"},
    ),
    "token_expiring": (TokenExpiring(60000), {"expiresIn": 60000}),
    "authenticated": (Authenticated(1732307000123), {"expiresAt": 1732307000123}),
    "reconnect": (Reconnect("drain", 1500), {"reason": "drain", "retryAfter": 1500}),
}
"""
The protocol's "Server to client": by name, one with all that is required, and its data.
"""


class MessageTests(SynchronousTestCase):
    """
    The JSON that clients read.
    """

    def data_of(self, message: Message) -> object:
        """
        The data of a message, as a client's JSON library reads it.
        """
        return json.loads(messages.encode(message))["data"]

    def test_each(self) -> None:
        """
        Each message is an object of its name and its data, with the protocol's fields.
        """
        for name, (message, data) in WORDS.items():
            heard = json.loads(messages.encode(message))
            self.assertEqual(heard, {"event": name, "data": data})

    def test_every_message(self) -> None:
        """
        There is no message beside those of the protocol.
        """
        said = {type(message) for message, _ in WORDS.values()}
        self.assertEqual(said, {*get_args(Message)})

    def test_cannot_be_published(self) -> None:
        """
        No event can have the name of a message.
        """
        self.assertEqual(envelope.RESERVED, {*WORDS})

    def test_resume(self) -> None:
        """
        C{identified} tells what became of C{lastEventId}, where there was one.
        """
        resumed = Identified("s", "u1", (), (), "17-0", Resume(False, 0, ("g1",)))
        self.assertEqual(
            self.data_of(resumed),
            {
                "sessionId": "s",
                "userId": "u1",
                "guildIds": [],
                "denied": [],
                "lastEventId": "17-0",
                "resume": {"recovered": False, "replayed": 0, "resync": ["g1"]},
            },
        )

    def test_reason_of_a_loss(self) -> None:
        """
        A loss that the client did not ask for has a reason.
        """
        for lost in (
            GuildUnsubscribed("g1", "member_removed"),
            GuildUnsubscribed("g1", "guild_deleted"),
            GuildUnsubscribed("g1", "revoked"),
        ):
            self.assertEqual(self.data_of(lost), {"guildId": "g1", "reason": lost.reason})

    def test_what_an_error_answers(self) -> None:
        """
        An error says what it answers, as far as there is something to say.
        """
        error = Error("forbidden", "no", event="guild_subscribe", guild_id="g1", retry_after=500)
        self.assertEqual(
            self.data_of(error),
            {
                "code": "forbidden",
                "message": "no",
                "event": "guild_subscribe",
                "guildId": "g1",
                "retryAfter": 500,
            },
        )

    @given(strings, strings, st.lists(strings, max_size=3).map(tuple))
    def test_any_text(self, user: str, reason: str, guilds: tuple[str, ...]) -> None:
        """
        Whatever is in an id or a reason arrives as it was, in one line of UTF-8.
        """
        denied = tuple(Denial(guild, reason) for guild in guilds)
        payload = messages.encode(Identified("s", user, guilds, denied, "0-0"))
        self.assertNotIn(b"\n", payload)
        heard = json.loads(payload.decode("utf-8"))["data"]
        self.assertEqual(heard["userId"], user)
        self.assertEqual(heard["guildIds"], [*guilds])
        self.assertEqual(heard["denied"], [{"guildId": g, "reason": reason} for g in guilds])
