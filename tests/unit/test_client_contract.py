"""
The contract, docs/asyncapi.yaml, and everything that is made of it or held to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from jsonschema import Draft7Validator
from twisted.trial.unittest import SynchronousTestCase

from clients.conformance.matching import Mismatch, match
from clients.conformance.script import load
from clients.generate import SOURCE, stale
from clients.generation.contract import Contract
from gatewayd import closing, commands, messages
from gatewayd.client.verdict import verdict

CONTRACT = Contract.load(SOURCE)


class ContractTests(SynchronousTestCase):
    """
    The document says what the code does.
    """

    def test_what_is_generated_is_up_to_date(self) -> None:
        """
        Every generated file is what the document makes of it now.
        """
        self.assertEqual(stale(CONTRACT), [], "run: python -m clients.generate")

    def test_close_codes(self) -> None:
        """
        The document's table of close codes is the gateway's own.
        """
        ours = {row.code: (row.come_back.value, row.reason) for row in closing.TABLE}
        theirs = {row["code"]: (row["comeBack"], row["reason"]) for row in CONTRACT.closings}
        self.assertEqual(theirs, ours)
        for row in CONTRACT.closings:
            self.assertEqual(verdict(row["code"]).value, row["comeBack"])

    def test_names(self) -> None:
        """
        The document has every message that the gateway says and every command that it takes.
        """
        told = {message.name for message in CONTRACT.operation("tell")}
        self.assertEqual(told, {name.decode() for name in messages._NAMES.values()})
        heard = {message.name for message in CONTRACT.operation("hear")}
        self.assertEqual(heard, commands.NAMES)

    def test_members(self) -> None:
        """
        The members of what the gateway says, and which of them are always there, are those of
        the types that it says them with.
        """
        shapes = {shape.name: shape for shape in CONTRACT.shapes}
        for message in CONTRACT.operation("tell"):
            (kind,) = (k for k, name in messages._NAMES.items() if name.decode() == message.name)
            fields = msgspec.structs.fields(kind)
            always = {one.encode_name: one.required for one in fields}
            # What has a default other than "not there" is always said.
            always |= {one.encode_name: one.default is not msgspec.UNSET for one in fields}
            members = {one.name: one.required for one in shapes[message.data].members}
            self.assertEqual(members, always, message.name)

    def test_examples(self) -> None:
        """
        Every example is what its schema says, and the gateway takes those of commands.
        """
        for operation in ("tell", "dispatch", "hear"):
            for message in CONTRACT.operation(operation):
                schema = CONTRACT.payload(operation, message.name)
                Draft7Validator.check_schema(schema)
                Draft7Validator(schema).validate(message.example)
                if operation == "hear":
                    commands.decode(json.dumps(message.example).encode())

    def test_schemas_can_fail(self) -> None:
        """
        A message without what it must have is not valid.
        """
        schema = CONTRACT.payload("dispatch", "message.create")
        valid: dict[str, Any] = {"event": "message.create", "data": {"id": "m", "channelId": "c"}}
        self.assertTrue(Draft7Validator(schema).is_valid(valid))
        self.assertFalse(Draft7Validator(schema).is_valid(valid | {"data": {"id": "m"}}))
        self.assertFalse(Draft7Validator(schema).is_valid(valid | {"id": 5}))


class ScriptTests(SynchronousTestCase):
    """
    The conformance script.
    """

    def test_every_close_code_is_played(self) -> None:
        """
        There is a case for each close code of the table.
        """
        played = {step["shut"]["code"] for case in load() for step in case.steps if "shut" in step}
        self.assertLessEqual({row["code"] for row in CONTRACT.closings}, played)

    def test_what_it_says_is_valid(self) -> None:
        """
        What the script has the server say, but for its nonsense, is a message of the contract's,
        or an event that it has never heard of.
        """
        known = {
            message.name: CONTRACT.payload(operation, message.name)
            for operation in ("tell", "dispatch")
            for message in CONTRACT.operation(operation)
        }
        lax = {"heartbeat", "message.create", "typing.start"}
        for case in load():
            for step in case.steps:
                said = step.get("say", {})
                if said.get("event") in known and said["event"] not in lax | {"identified"}:
                    Draft7Validator(known[said["event"]]).validate(said)

    def test_matching(self) -> None:
        """
        What matches has at least what is expected; a boolean is no number, and a list is whole.
        """
        match({"a": {"b": 1}, "c": None}, {"a": {"b": 1, "x": 2}})
        for expected, seen in (
            ({"a": 1}, {"a": 2}),
            ({"a": 1}, {}),
            ({"a": 1}, {"a": True}),
            ({"a": None}, {"a": 0}),
            ([1], [1, 2]),
            ({"a": {"b": 1}}, {"a": 5}),
        ):
            self.assertRaises(Mismatch, match, expected, seen)


class ImportTests(SynchronousTestCase):
    """
    What comes along with a client.
    """

    def imported(self, module: str) -> set[str]:
        """
        The top-level modules there are after an import in a fresh interpreter.
        """
        program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    def test_asyncio_without_twisted(self) -> None:
        """
        The asyncio client imports neither Twisted nor Autobahn.
        """
        names = self.imported("gatewayd.client.asyncio")
        self.assertIn("websockets", names)
        self.assertFalse({"twisted", "autobahn", "zope"} & names)

    def test_twisted_without_a_reactor(self) -> None:
        """
        The Twisted client installs no reactor by being imported.
        """
        program = "import sys, gatewayd.client.twisted; sys.exit('twisted.internet.reactor' in sys.modules)"
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
