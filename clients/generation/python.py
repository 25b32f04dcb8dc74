"""
Python from the contract.
"""

from __future__ import annotations

from textwrap import fill
from typing import Any

from clients.generation.contract import Contract, Shape

HEAD = '''"""
What the data of every event looks like, and how to listen for it.

Made from docs/asyncapi.yaml by C{python -m clients.generate}. Change that, not this.
"""

from __future__ import annotations

from typing import Any, Callable, Literal, NotRequired, TypedDict, overload

from gatewayd.client.effects import Meta, Resync, StateChange
from gatewayd.client.errors import ClientError

'''

ON = '''
class TypedEvents:
    """
    C{on}, with a type for each event there is.
    """

'''

GENERAL = '''
    def on(self, name: str, callback: Callable[[Any, Meta], object]) -> Callable[[], None]:
        """
        Call C{callback(data, meta)} for every event of that name.

        @param name: of an event; C{*} for all events of the platform; C{state}, C{resync},
            C{error}, C{guild_subscribed} or C{guild_unsubscribed} for what the client itself
            has to say.
        @return: call it to end that.
        """
        return self._add_listener(name, callback)

    def _add_listener(
        self, name: str, listener: Callable[[Any, Meta], object]
    ) -> Callable[[], None]:
        raise NotImplementedError
'''

OURS = {"*": "Any", "state": "StateChange", "resync": "Resync", "error": "ClientError"}
PASSED_ON = ("guild_subscribed", "guild_unsubscribed", "token_expiring")

_PRIMITIVES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}


def events(contract: Contract) -> str:
    """
    The shapes of all data, and C{on}.
    """
    told = {message.name: message.data for message in contract.operation("tell")}
    heard = {message.name: message.data for message in contract.operation("dispatch")}
    heard |= {name: told[name] for name in PASSED_ON}
    overloads = [_overload(name, data) for name, data in (OURS | heard).items()]
    # Not Any, or every listener would do for every event.
    overloads.append(_signature("str", "Callable[[object, Meta], object]"))
    shapes = "\n\n".join(_shape(contract, shape) for shape in contract.shapes)
    return HEAD + "\n" + shapes + "\n" + ON + "\n".join(overloads) + GENERAL


def _shape(contract: Contract, shape: Shape) -> str:
    notes = []
    lines = []
    for member in shape.members:
        kind = _type(contract, member.schema)
        lines.append(f"    {member.name}: {kind if member.required else f'NotRequired[{kind}]'}")
        description = contract.resolved(member.schema)[1].get("description")
        if "$ref" not in member.schema and description:
            text = description[0].lower() + description[1:]
            note = f"    @ivar {member.name}: {text}"
            notes.append(fill(note, 98, subsequent_indent=" " * 8, break_on_hyphens=False))
    head = [f"class {shape.name}(TypedDict):", '    """', f"    {shape.description}"]
    if notes:
        head += ["", *notes]
    body = ["", *lines] if lines else []
    return "\n".join([*head, '    """', *body, ""])


def _type(contract: Contract, schema: dict[str, Any]) -> str:
    name, schema = contract.resolved(schema)
    if name is not None and schema["type"] == "object":
        return name
    if "enum" in schema:
        return f"Literal[{', '.join(map(_quoted, schema['enum']))}]"
    if schema["type"] == "array":
        return f"list[{_type(contract, schema['items'])}]"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " | ".join(_PRIMITIVES[kind] for kind in kinds)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _overload(name: str, data: str) -> str:
    return _signature(f'Literal["{name}"]', f"Callable[[{data}, Meta], object]")


def _signature(name: str, callback: str) -> str:
    """
    As the formatter would cut it.
    """
    parameters = ["self", f"name: {name}", f"callback: {callback}"]
    line = f"    def on({', '.join(parameters)}) -> Callable[[], None]: ..."
    if len(line) > 100:
        inner = f"        {', '.join(parameters)}"
        if len(inner) > 100:
            inner = "\n".join(f"        {one}," for one in parameters)
        line = f"    def on(\n{inner}\n    ) -> Callable[[], None]: ..."
    return f"    @overload\n{line}\n"
