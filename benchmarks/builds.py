"""
The programs in C: the load client and the floor.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
"""
What is made or installed for the benchmarks, and nothing else. It can be deleted at any time.
"""


class Unbuilt(Exception):
    """
    There is no load client, so nothing can be measured. The text says what to do.
    """


def build() -> None:
    """
    Compile what is not compiled yet.

    @raise Unbuilt: it cannot be.
    """
    missing = [name for name in ("make", "cc") if shutil.which(name) is None]
    if missing:
        raise Unbuilt(
            f"The benchmarks' load client is written in C, and there is no {' and no '.join(missing)} "
            "here to build it with. On Debian: sudo apt-get install build-essential zlib1g-dev"
        )
    done = subprocess.run(
        ["make", "--silent", "-C", str(HERE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unbuilt(f"The benchmarks' programs in C do not compile:\n{done.stderr}")


def inflates() -> bool:
    """
    Whether the load client can be sent compressed frames: it was built with zlib.
    """
    symbols = (BUILD / "load").read_bytes()
    return b"inflateInit2_" in symbols
