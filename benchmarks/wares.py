"""
What the peers are made of, and how it gets here: packages of PyPI, npm and Debian, each in a
folder of the benchmarks' own, so that nothing is installed for anybody else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple, Sequence

from benchmarks.builds import BUILD

VENV = BUILD / "venv"
NODE = BUILD / "node"
DEBIAN = BUILD / "debian"
_PATIENCE = 600.0
"""
Seconds that an installation may take.
"""


class Absent(Exception):
    """
    Something cannot be had here. The text says what, and why.
    """


class Nothing(NamedTuple):
    """
    All that is needed is here anyway.
    """

    def provide(self) -> None:
        """
        Nothing to do.
        """


class PyPI(NamedTuple):
    """
    Python packages, as pip names them.
    """

    packages: tuple[str, ...]

    def provide(self) -> None:
        """
        @raise Absent: they cannot be installed.
        """
        python = VENV / "bin" / "python"
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(VENV)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        quiet = ["--quiet", "--progress-bar", "off", "--root-user-action", "ignore"]
        _once(VENV, self.packages, [*pip, *quiet, *self.packages])


class Npm(NamedTuple):
    """
    Node packages, as npm names them. Their scripts are not run.
    """

    packages: tuple[str, ...]

    def provide(self) -> None:
        """
        @raise Absent: they cannot be installed, or there is no node.
        """
        for name in ("node", "npm"):
            if shutil.which(name) is None:
                raise Absent(f"{name} is not installed. On Debian: sudo apt-get install nodejs npm")
        NODE.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--prefix", str(NODE), "--ignore-scripts"]
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        _once(NODE, self.packages, [*npm, *quiet, *self.packages])


class Debian(NamedTuple):
    """
    Debian packages, unpacked and not installed.

    @ivar files: what is looked for in them; if all are on the system already, that is used.
    @ivar folders: what has to be there because the path is compiled in.
    """

    packages: tuple[str, ...]
    files: tuple[str, ...]
    folders: tuple[str, ...] = ()

    def provide(self) -> None:
        """
        @raise Absent: they cannot be downloaded.
        """
        for folder in self.folders:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError:
                raise Absent(f"it needs a folder; run: sudo mkdir -p {folder}") from None
        if all(Path(f"/{file}").exists() for file in self.files):
            return
        if shutil.which("apt-get") is None:
            raise Absent(f"this is no Debian, and {', '.join(self.packages)} is not installed")
        DEBIAN.mkdir(parents=True, exist_ok=True)
        script = (
            f"apt-get -q download {' '.join(self.packages)} || "
            '{ echo "perhaps it helps to run: sudo apt-get update" >&2; exit 1; }\n'
            'for each in *.deb; do dpkg -x "$each" root; done'
        )
        _once(DEBIAN, self.packages, ["sh", "-ec", script])

    def path(self, file: str) -> str:
        """
        Where one of C{files} is.
        """
        installed = Path(f"/{file}")
        return str(installed if installed.exists() else DEBIAN / "root" / file)


Ware = Nothing | PyPI | Npm | Debian


@cache
def reason_of_absence(ware: Ware) -> str | None:
    """
    Get C{ware} here.

    @return: L{None} when it is here; else why it cannot be.
    """
    try:
        ware.provide()
    except Absent as absent:
        return str(absent)
    return None


def _once(folder: Path, packages: Sequence[str], command: Sequence[str]) -> None:
    mark = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
    stamp = folder / f".installed-{mark}"
    if stamp.exists():
        return
    sys.stderr.write(f"  getting {' '.join(packages)}\n")
    _run(command, folder)
    stamp.touch()


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(str(error)) from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Absent(f"{command[0]} failed: {' / '.join(words[-3:])}")
