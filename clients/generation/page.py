"""
A page to read from the contract.
"""

from __future__ import annotations

import json
from typing import Any

from clients.generation.contract import Contract, Message, Shape

HEAD = """\
.. Made from docs/asyncapi.yaml by ``python -m clients.generate``. Change that, not this.

Messages
========

Everything that goes over the WebSocket. It is all UTF-8 JSON in text frames; unknown members are
ignored both ways.
"""


def messages(contract: Contract) -> str:
    """
    Every message with its data, then every close code.
    """
    shapes = {shape.name: shape for shape in contract.shapes}
    parts = [HEAD]
    for name in ("tell", "dispatch", "hear"):
        operation = contract.document["operations"][name]
        parts.append(_heading(operation["title"], "-"))
        if "description" in operation:
            parts.append(operation["description"].replace("`", "``") + "\n")
        parts += [
            _message(contract, message, shapes[message.data])
            for message in contract.operation(name)
        ]
    parts.append(_heading("Close codes", "-"))
    rows = [[str(r["code"]), r["reason"], r["comeBack"]] for r in contract.closings]
    parts.append(_table(["code", "why", "come back?"], rows))
    return "\n".join(parts)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _message(contract: Contract, message: Message, shape: Shape) -> str:
    parts = [_heading(f"``{message.name}``", "~"), f"{message.summary}\n"]
    if shape.members:
        rows = []
        for member in shape.members:
            _, schema = contract.resolved(member.schema)
            description = schema.get("description", "").partition(";")[0]
            rows.append([f"``{member.name}``", _type(contract, member.schema), description])
            if not member.required:
                rows[-1][1] += ", optional"
        parts.append(_table(["data", "", ""], rows))
    example = json.dumps(message.example, ensure_ascii=False)
    parts.append(f".. code:: json\n\n    {example}\n")
    return "\n".join(parts)


def _type(contract: Contract, schema: dict[str, Any]) -> str:
    _, schema = contract.resolved(schema)
    if "enum" in schema:
        return ", ".join(f"``{one}``" for one in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(contract, schema['items'])}"
    if schema["type"] == "object":
        members = ", ".join(f"``{one}``" for one in schema["properties"])
        return f"object: {members}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(kinds)


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    widths = [max(width, 2) for width in widths]

    def line(cells: list[str]) -> str:
        # An empty first cell would continue the row above; an escape is a cell.
        cells = [cell or "\\" for cell in cells]
        return "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()

    rule = "  ".join("=" * width for width in widths)
    return "\n".join([rule, line(head), rule, *map(line, rows), rule, ""])
