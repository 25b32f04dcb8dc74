"""
Every key there is, as data: for reading, for fault lines, for the sample file and the
reference page.
"""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gatewayd.config.kinds import Kind
from gatewayd.config.sections import Config


class Key(NamedTuple):
    """
    @ivar default: as text.
    @ivar expected: completes "expected ...".
    @ivar hidden: whether its value must not be shown.
    """

    section: str
    name: str
    default: str
    expected: str
    hidden: bool
    description: str

    @property
    def variable(self) -> str:
        """
        Its name in the environment.
        """
        return f"GATEWAY_{self.section}_{self.name}".upper()


def _section_models() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _keys(section: str, model: type[BaseModel]) -> dict[str, Key]:
    found = {}
    for name, field in model.model_fields.items():
        kind = next((mark for mark in field.metadata if isinstance(mark, Kind)), None)
        # What has no kind is not read from text, and so no key.
        if kind is not None:
            default = kind.write(field.default)
            expected = ", ".join([kind.expected, *_bounds(field, kind)])
            description = field.description or ""
            found[name] = Key(section, name, default, expected, kind.hidden, description)
    return found


def _bounds(field: FieldInfo, kind: Kind) -> list[str]:
    low = next((mark.ge for mark in field.metadata if isinstance(mark, annotated_types.Ge)), None)
    high = next((mark.le for mark in field.metadata if isinstance(mark, annotated_types.Le)), None)
    if low is None:
        return []
    return [f"{kind.write(low)} or more" if high is None else f"{low} to {high}"]


MODELS: Mapping[str, type[BaseModel]] = _section_models()
"""
The sections, in the order of the reference page.
"""

KEYS: Mapping[str, Mapping[str, Key]] = {
    section: _keys(section, model) for section, model in MODELS.items()
}
"""
By section and name.
"""


def all_keys() -> Iterator[Key]:
    """
    All of L{KEYS}, in order.
    """
    for keys in KEYS.values():
        yield from keys.values()
