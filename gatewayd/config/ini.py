"""
An ini file's text as sections of keys, with every fault of its syntax.

This reads a subset of what the standard library's configparser reads, and reads it alike
(the tests hold the two against each other). configparser itself will not do here: it stops at
the first duplicate, quotes the offending line, which may hold a secret, in its message,
accepts C{[auth] anything}, and does not say on which line a value stood.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_HEADER = re.compile(r"\[([^\[\]]+)\]")


class Value(NamedTuple):
    """
    @ivar lines: without the white space around them, none of them empty.
    @ivar line: where the key stands, from 1.
    """

    lines: list[str]
    line: int

    @property
    def text(self) -> str:
        """
        The whole value.
        """
        return "\n".join(self.lines)


class Section(NamedTuple):
    """
    @ivar line: where the header stands, from 1.
    """

    values: dict[str, Value]
    line: int


class Trouble(NamedTuple):
    """
    What the syntax does not allow.

    @ivar line: from 1.
    @ivar reason: it may name a section or a key, never anything else of the line.
    """

    line: int
    reason: str


class Ini:
    """
    A whole file, read line by line: C{[section]}, C{key = value}, and lines that begin with
    C{#} or C{;} as comments. A line that is indented deeper than the key above it continues
    that key's value. Names are case-sensitive; there are no comments behind a value, no
    interpolation and no section of defaults.
    """

    def __init__(self, text: str) -> None:
        self.sections: dict[str, Section] = {}
        self.troubles: list[Trouble] = []
        self._section: Section | None = None
        self._place = ""
        self._value: Value | None = None
        self._indent = 0
        for number, line in enumerate(text.split("\n"), start=1):
            self._take(line, number)

    def _take(self, raw: str, number: int) -> None:
        line = raw.strip()
        if not line or line[0] in "#;":
            return
        indent = len(raw) - len(raw.lstrip())
        if self._value is not None and indent > self._indent:
            self._value.lines.append(line)
            return
        self._indent = indent
        if line[0] == "[":
            self._begin(line, number)
        else:
            self._assign(line, number)

    def _begin(self, line: str, number: int) -> None:
        # Whatever follows a faulty header belongs to it even so, and is no fault of its own.
        self._section = Section({}, number)
        self._value = None
        self._place = ""
        header = _HEADER.fullmatch(line)
        if header is None:
            self._trouble(number, "expected a [section] alone on its line")
            return
        self._place = shown(header[1], "[{}] ")
        first = self.sections.setdefault(header[1], self._section)
        if first is not self._section:
            self._trouble(number, f"{self._place}section given before, on line {first.line}")

    def _assign(self, line: str, number: int) -> None:
        key, equals, text = (part.strip() for part in line.partition("="))
        # Also a faulty line's further lines are its own.
        self._value = Value([text] if text else [], number)
        if not key or not equals:
            self._trouble(number, "expected key = value")
        elif self._section is None:
            self._trouble(number, f"{shown(key, '{}: ')}a key outside any [section]")
        elif (first := self._section.values.setdefault(key, self._value)) is not self._value:
            self._trouble(
                number, f"{self._place}{shown(key, '{}: ')}given before, on line {first.line}"
            )

    def _trouble(self, line: int, reason: str) -> None:
        self.troubles.append(Trouble(line, reason))


def shown(name: str, template: str) -> str:
    """
    C{template} with C{name} in it, or nothing if C{name} does not look like a name of ours: a
    secret on a line of its own is read as a key when it ends in C{=}, as base64 does, and
    must not be repeated in a fault.
    """
    return template.format(name) if re.fullmatch(r"[A-Za-z_-]{1,32}", name) else ""
