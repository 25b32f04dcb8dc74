"""
Whether something is as a script says.
"""

from __future__ import annotations

from typing import Any


class Mismatch(AssertionError):
    """
    It is not; the text says where.
    """


def match(expected: Any, seen: Any, where: str = "") -> None:
    """
    Objects must hold what is expected, and may hold more; where C{None} is expected a member may
    be missing. Everything else must be equal.

    @raise Mismatch: it is not so.
    """
    if isinstance(expected, dict) and isinstance(seen, dict):
        for key, value in expected.items():
            match(value, seen.get(key), f"{where}.{key}")
    elif isinstance(expected, bool) != isinstance(seen, bool) or expected != seen:
        raise Mismatch(f"expected {expected!r} at {where or 'the top'}, saw {seen!r}")
