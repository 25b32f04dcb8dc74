"""
Which events, by name, a session asked for (C{identify}'s C{events}).
"""

from __future__ import annotations

from typing import Iterable


class Interest:
    """
    A set of names and prefixes. Patterns are C{message.create}, C{message.*} or C{*}; a C{!}
    before one leaves out what it matches, and wins. Only exclusions: all the rest.

    Equal interests are one object (L{of}), and each name is decided once for it: ten thousand
    clients of the same version ask for the same names.
    """

    __slots__ = ("_all", "_decided", "_left_out", "_wanted")

    def __init__(self, patterns: frozenset[str]) -> None:
        self._left_out = tuple(p[1:] for p in patterns if p.startswith("!"))
        self._wanted = tuple(p for p in patterns if not p.startswith("!"))
        self._all = not self._wanted
        self._decided: dict[str, bool] = {}

    def wants(self, name: str) -> bool:
        """
        Whether an event of this name was asked for.
        """
        decided = self._decided.get(name)
        if decided is None:
            decided = (self._all or _matches(name, self._wanted)) and not _matches(
                name, self._left_out
            )
            # Names come from publishers and are without bound; forgetting them all now and
            # then costs less than an ordered cache.
            if len(self._decided) >= 1000:
                self._decided.clear()
            self._decided[name] = decided
        return decided


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


_known: dict[frozenset[str], Interest] = {}


def of(patterns: Iterable[str] | None) -> Interest | None:
    """
    The interest that C{patterns} describe; L{None}, the cheapest, for everything.
    """
    key = frozenset(patterns or ())
    if not key:
        return None
    interest = _known.get(key)
    if interest is None:
        if len(_known) >= 1000:
            _known.clear()
        interest = _known[key] = Interest(key)
    return interest
