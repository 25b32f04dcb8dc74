"""
TypeScript from the contract.
"""

from __future__ import annotations

import json
from typing import Any

from clients.generation.contract import Contract, Message, Shape

HEAD = "// Made from docs/asyncapi.yaml by `python -m clients.generate`. Change that, not this.\n"

_PRIMITIVES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def events(contract: Contract) -> str:
    """
    The shapes of all data, and which event carries which.
    """
    parts = [HEAD]
    for name, schema in contract.document["components"]["schemas"].items():
        if schema["type"] != "object":
            parts.append(f"/** {schema['description']} */\nexport type {name} = string;\n")
    parts += [_interface(contract, shape) for shape in contract.shapes]
    parts.append(
        _map(
            contract.operation("dispatch"),
            "Events",
            "What happens on the platform, by name. Add your own events by declaration merging.",
        )
    )
    parts.append(_map(contract.operation("tell"), "Told", "What the gateway itself says."))
    parts.append(_map(contract.operation("hear"), "Commands", "What a client says."))
    return "\n".join(parts)


def _interface(contract: Contract, shape: Shape) -> str:
    lines = [f"/** {shape.description} */", f"export interface {shape.name} {{"]
    for member in shape.members:
        description = contract.resolved(member.schema)[1].get("description")
        if "$ref" not in member.schema and description:
            lines.append(f"  /** {description} */")
        mark = "" if member.required else "?"
        lines.append(f"  {member.name}{mark}: {_type(contract, member.schema)};")
    lines += ["  [more: string]: unknown;", "}", ""]
    return "\n".join(lines)


def _type(contract: Contract, schema: dict[str, Any]) -> str:
    name, schema = contract.resolved(schema)
    if name is not None:
        return name
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if schema["type"] == "array":
        return f"{_type(contract, schema['items'])}[]"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " | ".join(_PRIMITIVES[kind] for kind in kinds)


def _map(messages: list[Message], name: str, description: str) -> str:
    lines = [f"/** {description} */", f"export interface {name} {{"]
    for message in messages:
        lines += [f"  /** {message.summary} */", f"  {json.dumps(message.name)}: {message.data};"]
    return "\n".join([*lines, "}", ""])


def closing(contract: Contract) -> str:
    """
    The table of close codes.
    """
    words = sorted({row["comeBack"] for row in contract.closings})
    union = " | ".join(json.dumps(word) for word in words)
    rows = [
        f"  [{row['code']}, {json.dumps(row['comeBack'])}], // {row['reason']}"
        for row in contract.closings
    ]
    return "\n".join(
        [
            HEAD,
            "/** What a client should do after a close. */",
            f"export type ComeBack = {union};",
            "",
            "/** By close code. */",
            "export const CLOSINGS: ReadonlyMap<number, ComeBack> = new Map<number, ComeBack>([",
            *rows,
            "]);",
            "",
        ]
    )
