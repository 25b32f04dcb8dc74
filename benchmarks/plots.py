"""
The curves as pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.growth import Growth


class NoPlots(Exception):
    """
    matplotlib is not here. The text says what to do.
    """


def draw(growth: Growth, folder: Path) -> list[Path]:
    """
    Draw each curve into a PNG file of its own.

    @raise NoPlots: there is nothing to draw with.
    """
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for curve in growth.curves:
        figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=110)
        for line in curve.lines:
            axes.plot(
                [point.x for point in line.points],
                [point.y for point in line.points],
                marker="o",
                markersize=4,
                label=line.name,
            )
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(curve.title, fontsize=10)
        axes.set_xlabel(curve.x)
        axes.set_ylabel(curve.y)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        path = folder / f"{curve.name}.png"
        figure.tight_layout()
        figure.savefig(path)
        pyplot.close(figure)
        made.append(path)
    return made


def check() -> None:
    """
    See that pictures can be drawn, before hours are spent on what is in them.

    @raise NoPlots: they cannot.
    """
    _pyplot()


def _pyplot() -> Any:
    try:
        import matplotlib  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise NoPlots(
            "The growth curves are drawn by matplotlib, which is not installed. "
            "Run `make bench`, or: .venv/bin/pip install -e '.[bench]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
