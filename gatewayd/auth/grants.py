"""
From an authority's answers to a grant.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from gatewayd.model import Denial, Grant


def grant_of(asked: Sequence[str], answers: Mapping[str, bool | None]) -> Grant:
    """
    What was asked for, divided by C{answers}: true is granted, false is forbidden, and
    whatever has no answer is unavailable. An answer to what was not asked grants nothing.

    @param asked: each guild once.
    """
    return Grant(
        granted=tuple(guild for guild in asked if answers.get(guild) is True),
        denied=tuple(
            Denial(guild, "unavailable" if answers.get(guild) is None else "forbidden")
            for guild in asked
            if answers.get(guild) is not True
        ),
    )


def once_each(guilds: Sequence[str]) -> tuple[str, ...]:
    """
    C{guilds} in their order, without repetitions.
    """
    return tuple(dict.fromkeys(guilds))
