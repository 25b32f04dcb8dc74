"""
The distribution, installed every way a person may: each must give C{twistd} its command.

Nothing is downloaded. Each environment is an empty one that also sees the libraries of the one
that runs the tests, and setuptools among them builds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Iterator
from zipfile import ZipFile

import pytest

from gatewayd import __version__

ROOT = Path(__file__).parents[2]

TWISTD = ("-P", "-c", "from twisted.scripts.twistd import run; run()", "--help")
"""
C{twistd --help}, without the folder it is started in on the path, as C{twistd} does.
"""


def output(*command: str | Path, cwd: Path, **variables: str) -> str:
    """
    What C{command} prints.

    @raise AssertionError: it failed; the text holds what it printed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


class Environment:
    """
    A virtual environment that has everything but gatewayd.

    @ivar python: its interpreter.
    """

    def __init__(self, directory: Path) -> None:
        venv.create(directory, symlinks=True)
        self.directory = directory
        self.python = directory / "bin" / "python"
        purelib = output(
            self.python,
            *("-c", "import sysconfig; print(sysconfig.get_path('purelib'))"),
            cwd=directory,
        )
        # A path and no more: an editable gatewayd of the outer environment stays invisible,
        # since the .pth file that makes it one is not looked for in there.
        libraries = Path(purelib.strip()) / "libraries.pth"
        libraries.write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, *what: str | Path) -> None:
        """
        C{pip install}, with what is here.
        """
        offline = ("--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check")
        output(*pip, "install", "--quiet", *offline, *what, cwd=self.directory)

    def knows_gateway(self) -> bool:
        """
        Whether its C{twistd} has the command, asked in a folder that has nothing to do with it.
        """
        return lists_gateway(output(self.python, *TWISTD, cwd=self.directory))

    def installed(self) -> str:
        """
        The version that its C{gatewayctl} says it has.
        """
        return output(self.directory / "bin" / "gatewayctl", "--version", cwd=self.directory)


def lists_gateway(text: str) -> bool:
    """
    Whether the help of C{twistd} names the command C{gateway}.
    """
    return any(line.split()[:1] == ["gateway"] for line in text.splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """
    A copy of what a distribution is built from, without what earlier builds left.
    """
    copy = tmp_path / "checkout"
    ignore = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in ("gatewayd", "twisted"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    """
    A fresh one, which has never heard of the gateway.
    """
    fresh = Environment(tmp_path / "environment")
    assert not fresh.knows_gateway()
    yield fresh
    # Some are as large as the checkout, and pytest keeps the folders of three runs.
    shutil.rmtree(fresh.directory)


def test_wheel(checkout: Path, environment: Environment, tmp_path: Path) -> None:
    """
    A wheel holds the package with its data, the plugin and the licence, and no tests; twistd
    finds the command when it is installed.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    output(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ".", cwd=checkout)
    (wheel,) = tmp_path.glob("gatewayd-*.whl")

    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("LICENSE")]
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "gatewayd").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert names == expected | {"twisted/plugins/gatewayd_plugin.py"}
    assert licences

    environment.install(wheel)
    assert environment.knows_gateway()
    assert __version__ in environment.installed()


def test_install(checkout: Path, environment: Environment) -> None:
    """
    C{pip install .} gives twistd the command.
    """
    environment.install(checkout)
    assert environment.knows_gateway()
    assert __version__ in environment.installed()


def test_editable_install(checkout: Path, environment: Environment) -> None:
    """
    C{pip install -e .} gives twistd the command with no further option, and a change to the
    checkout is there at once.
    """
    environment.install("-e", checkout)
    assert environment.knows_gateway()
    init = checkout / "gatewayd" / "__init__.py"
    init.write_text(init.read_text().replace(__version__, "99.0"))
    assert "99.0" in environment.installed()


def test_uninstall_leaves_twisted(checkout: Path, environment: Environment) -> None:
    """
    Uninstalling takes the command away, and nothing of Twisted with it.
    """
    environment.install(checkout)
    pip = (sys.executable, "-m", "pip", "--python", environment.python)
    output(*pip, "uninstall", "--quiet", "--yes", "gatewayd", cwd=environment.directory)
    assert not environment.knows_gateway()


def test_checkout(checkout: Path, environment: Environment) -> None:
    """
    With nothing installed, twistd finds the command by PYTHONPATH, and C{python -m twisted}
    by being run from the checkout.
    """
    by_path = output(
        environment.python, *TWISTD, cwd=environment.directory, PYTHONPATH=str(checkout)
    )
    assert lists_gateway(by_path)
    by_folder = output(environment.python, "-m", "twisted", "--help", cwd=checkout)
    assert lists_gateway(by_folder)
