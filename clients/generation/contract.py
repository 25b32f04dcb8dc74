"""
The contract, as the generators see it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

SCHEMAS = "#/components/schemas/"


class Member(NamedTuple):
    """
    One member of an object.

    @ivar schema: JSON Schema, with references.
    """

    name: str
    schema: dict[str, Any]
    required: bool


class Shape(NamedTuple):
    """
    One object type.
    """

    name: str
    description: str
    members: tuple[Member, ...]


class Message(NamedTuple):
    """
    One message.

    @ivar data: the name of the shape of its data.
    """

    name: str
    summary: str
    data: str
    example: dict[str, Any]


class Contract:
    """
    The document.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._schemas: dict[str, dict[str, Any]] = document["components"]["schemas"]

    @classmethod
    def load(cls, path: Path) -> Contract:
        """
        Read it.
        """
        return cls(yaml.safe_load(path.read_text(encoding="utf-8")))

    @property
    def shapes(self) -> list[Shape]:
        """
        All object types, in the document's order.
        """
        return [
            self._shape(name, schema)
            for name, schema in self._schemas.items()
            if schema["type"] == "object"
        ]

    def _shape(self, name: str, schema: dict[str, Any]) -> Shape:
        required = schema.get("required", [])
        members = tuple(
            Member(member, of, member in required) for member, of in schema["properties"].items()
        )
        return Shape(name, schema["description"], members)

    def resolved(self, schema: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """
        What a schema refers to: the name, if it is a reference, and the schema itself.
        """
        reference = schema.get("$ref")
        if reference is None:
            return None, schema
        name = reference.removeprefix(SCHEMAS)
        return name, self._schemas[name]

    def operation(self, name: str) -> list[Message]:
        """
        The messages of C{tell}, C{dispatch} or C{hear}.
        """
        messages = self.document["components"]["messages"]
        references = self.document["operations"][name]["messages"]
        return [self._message(messages[one["$ref"].rpartition("/")[2]]) for one in references]

    def _message(self, message: dict[str, Any]) -> Message:
        data, _ = self.resolved(message["payload"]["properties"]["data"])
        assert data is not None, f"the data of {message['name']} has no name"
        return Message(message["name"], message["summary"], data, message["examples"][0]["payload"])

    @property
    def closings(self) -> list[dict[str, Any]]:
        """
        The table of close codes: C{code}, C{reason}, C{comeBack}.
        """
        rows: list[dict[str, Any]] = self.document["x-close-codes"]
        return rows

    def payload(self, operation: str, name: str) -> dict[str, Any]:
        """
        A JSON Schema, whole in itself, of one message.
        """
        for reference in self.document["operations"][operation]["messages"]:
            message = self.document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            if message["name"] == name:
                return {**message["payload"], "components": {"schemas": self._schemas}}
        raise KeyError(name)
