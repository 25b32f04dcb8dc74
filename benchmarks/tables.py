"""
Tables in reStructuredText, which can be read as they are.
"""

from __future__ import annotations

from typing import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    A simple table. Every column but the first is of figures, and set to the right.
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"


def heading(text: str, under: str = "-") -> str:
    """
    A heading.
    """
    return f"{text}\n{under * len(text)}\n"


def figure(value: float) -> str:
    """
    A figure with three digits that count.
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
