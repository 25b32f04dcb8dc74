"""
Tests for L{gatewayd.commands}: what clients may say.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import commands
from gatewayd.commands import (
    Authenticate,
    Command,
    Credentials,
    FreshToken,
    Guild,
    GuildSubscribe,
    GuildUnsubscribe,
    Heartbeat,
    HeartbeatAck,
    Identify,
)
from tests.strategies import given_ids, json_values, objects


def decode(event: str, data: Any = msgspec.UNSET, **more: Any) -> Command:
    """
    The command that a client with a JSON library sends.
    """
    message = {"event": event, **more}
    if data is not msgspec.UNSET:
        message["data"] = data
    return commands.decode(json.dumps(message).encode())


def identify(**data: Any) -> Credentials:
    """
    The data of an C{identify}.
    """
    command = decode("identify", {"userId": "u1", **data})
    assert isinstance(command, Identify)
    return command.data


class CommandTests(SynchronousTestCase):
    """
    The protocol's commands.
    """

    def test_each(self) -> None:
        """
        Every command of the protocol is one, as its first clients write it.
        """
        for event, data, expected in (
            ("heartbeat_ack", {}, HeartbeatAck()),
            ("heartbeat", {}, Heartbeat()),
            ("guild_subscribe", {"guildId": "g1"}, GuildSubscribe(Guild("g1"))),
            ("guild_unsubscribe", {"guildId": "g1"}, GuildUnsubscribe(Guild("g1"))),
            ("authenticate", {"token": "t"}, Authenticate(FreshToken("t"))),
            (
                "identify",
                {"userId": "u1", "token": "t", "guildIds": ["g1", "g2"]},
                Identify(Credentials("u1", "t", ["g1", "g2"])),
            ),
        ):
            self.assertEqual(decode(event, data), expected)

    def test_names(self) -> None:
        """
        The names that are known are those of the commands.
        """
        tags = {command.__struct_config__.tag for command in get_args(Command)}
        self.assertEqual(commands.NAMES, tags)

    def test_data_comes_first(self) -> None:
        """
        The order of fields means nothing.
        """
        command = commands.decode(b'{"data": {"guildId": "g1"}, "event": "guild_subscribe"}')
        self.assertEqual(command, GuildSubscribe(Guild("g1")))

    @given(objects)
    def test_unknown_fields(self, more: dict[str, Any]) -> None:
        """
        Unknown fields are ignored, in the message and in its data.
        """
        more = {f"x{name}": value for name, value in more.items()}
        expected = GuildSubscribe(Guild("g1"))
        self.assertEqual(decode("guild_subscribe", {"guildId": "g1", **more}, **more), expected)

    def test_heartbeats_need_no_data(self) -> None:
        """
        Heartbeats are understood without data, and with a null.
        """
        self.assertIsInstance(decode("heartbeat"), Heartbeat)
        self.assertIsInstance(decode("heartbeat", None), Heartbeat)
        self.assertIsInstance(decode("heartbeat_ack"), HeartbeatAck)
        self.assertIsInstance(decode("heartbeat_ack", None), HeartbeatAck)

    @given(given_ids)
    def test_ids(self, one: str | int) -> None:
        """
        An id is a string of 1 to 64 characters, and a JSON integer is its decimal string.
        """
        self.assertEqual(identify(userId=one).user, str(one))
        self.assertEqual(identify(guildIds=[one]).guilds, (str(one),))
        for event in ("guild_subscribe", "guild_unsubscribe"):
            command = decode(event, {"guildId": one})
            assert isinstance(command, GuildSubscribe | GuildUnsubscribe)
            self.assertEqual(command.data.guild, str(one))


class IdentifyTests(SynchronousTestCase):
    """
    What a client says of itself.
    """

    def test_least(self) -> None:
        """
        What is optional may be left out.
        """
        credentials = identify()
        self.assertEqual(
            (credentials.guilds, credentials.last, credentials.events, credentials.client),
            ((), None, None, None),
        )

    def test_most(self) -> None:
        """
        Everything that a client may say is understood.
        """
        credentials = identify(
            token="t",
            guildIds=["g1"],
            lastEventId="17-0",
            events=["message.*", "!message.delete"],
            client="phone 1.2",
        )
        self.assertEqual(credentials.last, "17-0")
        self.assertEqual(credentials.events, ["message.*", "!message.delete"])
        self.assertEqual(credentials.client, "phone 1.2")

    def test_null(self) -> None:
        """
        What is optional may be null.
        """
        self.assertEqual(identify(lastEventId=None, events=None, client=None), identify())

    @given(st.lists(st.integers(0, 5) | st.sampled_from(["1", "a", "b"]), max_size=12))
    def test_guilds_in_the_order_asked(self, asked: list[str | int]) -> None:
        """
        Guilds stay in the order asked, each once, in whichever form it is repeated.
        """
        guilds = identify(guildIds=asked).guilds
        positions = [list(map(str, asked)).index(guild) for guild in guilds]
        self.assertEqual(positions, sorted(set(positions)))
        self.assertEqual({*guilds}, {*map(str, asked)})

    @given(json_values)
    def test_token_of_any_type(self, token: Any) -> None:
        """
        A token that is none is for whoever checks tokens to refuse.
        """
        self.assertEqual(identify(token=token).token, token)
        command = decode("authenticate", {"token": token})
        self.assertEqual(command, Authenticate(FreshToken(token)))

    def test_no_token(self) -> None:
        """
        A missing token is a token to refuse as well.
        """
        self.assertIsNone(identify().token)
        self.assertEqual(decode("authenticate", {}), Authenticate(FreshToken(None)))

    def test_last_event_id(self) -> None:
        """
        An event id is any short text: one that is not of this log is answered, not refused.
        """
        for last in ("", "nonsense", "0-0", "\u00e9" * 64):
            self.assertEqual(identify(lastEventId=last).last, last)
        self.assertEqual(identify(lastEventId=1732).last, "1732")
