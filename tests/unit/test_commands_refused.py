"""
Tests for L{gatewayd.commands}: what clients say that is no command.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import commands, messages
from gatewayd.commands import (
    MAX_ASKED,
    MAX_INTERESTS,
    Command,
    GuildSubscribe,
    GuildUnsubscribe,
    Identify,
)
from gatewayd.errors import BadCommand, NotJSON
from tests.strategies import TOO_DEEP, damaged, given_ids, json_values, strings, written
from tests.unit.test_commands import identify


class BadCommandTests(SynchronousTestCase):
    """
    JSON objects that are no commands are answered with what is wrong.
    """

    def refused(self, code: str, event: str | None, payload: bytes) -> BadCommand:
        """
        Fail unless C{payload} is refused with this code, naming this event.
        """
        error: BadCommand = self.assertRaises(BadCommand, commands.decode, payload)
        self.assertEqual((error.code, error.event), (code, event), payload)
        self.assertTrue(error.reason)
        return error

    def test_unknown_event(self) -> None:
        """
        An event that is no command is an unknown event, whatever its data is.
        """
        for data in (b"{}", b"null", b"[]", b'{"guildId": 1.5}'):
            for name in ("message.create", "Identify", "ready", "", "heartbeat_ack "):
                self.refused(
                    "unknown_event", name, b'{"event":"%s","data":%s}' % (name.encode(), data)
                )

    def test_long_names_are_cut(self) -> None:
        """
        Of an unknown name no more is repeated than any command has.
        """
        self.refused("unknown_event", "a" * 64, b'{"event":"%s"}' % (b"a" * 10000))

    def test_no_name(self) -> None:
        """
        A message without an event, or with one that is no string, has invalid data.
        """
        for payload in (b"{}", b'{"data":{}}', b'{"event":null}', b'{"event":5}', b'{"event":{}}'):
            self.refused("invalid_data", None, payload)

    def test_no_data(self) -> None:
        """
        A command that needs data is invalid without.
        """
        for event in ("identify", "guild_subscribe", "guild_unsubscribe", "authenticate"):
            for rest in (b"", b',"data":null', b',"data":[]', b',"data":"g1"', b',"data":5'):
                self.refused("invalid_data", event, b'{"event":"%s"%s}' % (event.encode(), rest))

    def test_data_of_another_kind(self) -> None:
        """
        A heartbeat's data, where there is any, is an object.
        """
        for event in ("heartbeat", "heartbeat_ack"):
            for data in (b"[]", b"5", b'""', b"false"):
                payload = b'{"event":"%s","data":%s}' % (event.encode(), data)
                self.refused("invalid_data", event, payload)

    def test_wrong_types(self) -> None:
        """
        A field of another kind is invalid, and the reason says which field.
        """
        wrong: dict[str, tuple[Any, ...]] = {
            "userId": (None, True, 1.5, [], {}, "", "a" * 65),
            "guildIds": (None, "g1", 5, {}, [None], [True], [1.5], [""], ["a" * 65], [["g1"]]),
            "lastEventId": (True, 1.5, [], {}, "1" * 65),
            "events": ("*", 5, {}, [None], [5], [""], ["a" * 129]),
            "client": (5, {}, "a" * 201),
        }
        for field, values in wrong.items():
            for value in values:
                data = {"userId": "u1", field: value}
                payload = json.dumps({"event": "identify", "data": data}).encode()
                self.assertIn(field, self.refused("invalid_data", "identify", payload).reason)
        for event in ("guild_subscribe", "guild_unsubscribe"):
            for value in (None, True, 1.5, [], ["g1"], {}, "", "a" * 65):
                payload = json.dumps({"event": event, "data": {"guildId": value}}).encode()
                self.assertIn("guildId", self.refused("invalid_data", event, payload).reason)

    def test_long_numbers(self) -> None:
        """
        An integer of more than 64 characters is no id, however long.
        """
        for number in (10**64, -(10**63), 10**4000):
            for field in ("userId", "guildIds", "lastEventId"):
                value = [number] if field == "guildIds" else number
                data = {"userId": "u1", field: value}
                payload = json.dumps({"event": "identify", "data": data}).encode()
                self.refused("invalid_data", "identify", payload)
        payload = b'{"event":"guild_subscribe","data":{"guildId":%s}}' % (b"9" * 10_000)
        self.refused("invalid_data", "guild_subscribe", payload)

    def test_too_many(self) -> None:
        """
        Lists have a length that no honest client needs to pass.
        """
        guilds = list(map(str, range(MAX_ASKED)))
        patterns = guilds[:MAX_INTERESTS]
        self.assertEqual(identify(guildIds=guilds).guilds, (*guilds,))
        self.assertEqual(identify(events=patterns).events, patterns)
        for field, value in (("guildIds", [*guilds, "a"]), ("events", [*patterns, "a"])):
            data = {"userId": "u1", field: value}
            payload = json.dumps({"event": "identify", "data": data}).encode()
            self.assertIn(field, self.refused("invalid_data", "identify", payload).reason)


class NotJSONTests(SynchronousTestCase):
    """
    To what is not a JSON object there is no answer.
    """

    def test_not_json(self) -> None:
        """
        What is not JSON is told apart.
        """
        for payload in (
            *(b"", b" ", b"hello", b"{", b"{'event':'heartbeat'}", b'{"event":"heartbeat"}}'),
            *(b'{"event":"heartbeat"} x', b'{"event":"heartbeat",}', b'{"event":NaN}', b"\x00"),
            *(b'\xef\xbb\xbf{"event":"heartbeat"}', b'{"event":"heart\xffbeat"}', b"\xff"),
            b'{"event":"identify","data":{"userId":"\\ud800"}}',
            *(TOO_DEEP, b'{"event":%s}' % TOO_DEEP, b'{"event":"heartbeat","x":%s}' % TOO_DEEP),
            b'{"event":"identify","data":{"userId":"u1","token":%s}}' % TOO_DEEP,
            *(b'{"event":5,"x":%s}' % TOO_DEEP, b'{"event":"nonsense","x":%s}' % TOO_DEEP),
            *(b'{"event":5,"x":1', b'{"event":5,"event":"\xff"}', b'{"event":"nonsense"} x'),
        ):
            self.assertRaises(NotJSON, commands.decode, payload)

    def test_not_an_object(self) -> None:
        """
        JSON that is no object is as good as none.
        """
        for payload in (b"null", b"true", b"5", b"1.5", b'"heartbeat"', b"[]", b'["heartbeat"]'):
            self.assertRaises(NotJSON, commands.decode, payload)


_fields = st.sampled_from(
    ["userId", "guildId", "guildIds", "token", "lastEventId", "events", "client"]
)
sayings = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(commands.NAMES)) | strings},
    optional={"data": st.dictionaries(_fields, given_ids | json_values) | json_values},
)


class TotalityTests(SynchronousTestCase):
    """
    Whatever a client says is a command, or one of two errors.
    """

    def check(self, payload: bytes) -> None:
        """
        Fail unless something comes of C{payload} that can be acted on and repeated.
        """
        try:
            command = commands.decode(payload)
        except NotJSON:
            return
        except BadCommand as error:
            complaint = messages.Error(error.code, error.reason)
            if error.event is not None:
                complaint.event = error.event
            self.assertTrue(messages.encode(complaint))
            return
        self.assertIsInstance(command, Command)
        if isinstance(command, Identify):
            said = command.data
            ids: tuple[str, ...] = (said.user, *said.guilds)
        elif isinstance(command, GuildSubscribe | GuildUnsubscribe):
            ids = (command.data.guild,)
        else:
            return
        for one in ids:
            self.assertTrue(0 < len(one) <= 64)
            self.assertEqual(one.encode().decode(), one)

    @given(st.binary())
    @example(b"[" * 500_000)
    @example(b'{"event":"\\ud83d"}')
    def test_any_bytes(self, payload: bytes) -> None:
        """
        Any bytes.
        """
        self.check(payload)

    @given(written())
    def test_any_json(self, payload: bytes) -> None:
        """
        Any JSON.
        """
        self.check(payload)

    @given(written(sayings))
    def test_anything_in_our_fields(self, payload: bytes) -> None:
        """
        Objects with our fields' names and anything in them.
        """
        self.check(payload)

    @given(damaged(written(sayings)))
    def test_damaged(self, payload: bytes) -> None:
        """
        Messages that something has happened to.
        """
        self.check(payload)
