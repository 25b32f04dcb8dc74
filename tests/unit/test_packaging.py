"""
What setup.py, the pins, the plugin and the unit say, held against the tree they speak of.

That an installation of it works is in tests/live/test_packaging.py.
"""

from __future__ import annotations

import ast
import configparser
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from setuptools import Distribution
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase

import gatewayd

ROOT = Path(__file__).parents[2]


@cache
def distribution() -> Distribution:
    """
    What setup.py declares, without building anything.
    """
    from distutils.core import run_setup

    found: Any = run_setup(str(ROOT / "setup.py"), stop_after="init")
    assert isinstance(found, Distribution)
    return found


def requirements() -> list[Requirement]:
    """
    All that setup.py asks for, extras too.
    """
    declared = distribution()
    groups = [declared.install_requires, *declared.extras_require.values()]
    return [Requirement(text) for group in groups for text in group]


def pins() -> dict[str, Version]:
    """
    constraints.txt, by canonical name.
    """
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pinned}


class MetadataTests(SynchronousTestCase):
    """
    setup.py.
    """

    def test_version(self) -> None:
        """
        The distribution has the version that the package tells its clients.
        """
        self.assertEqual(distribution().get_version(), gatewayd.__version__)

    def test_all_packages(self) -> None:
        """
        Every folder with modules in it is distributed: none lacks its C{__init__.py}.
        """
        folders = {path.parent for path in (ROOT / "gatewayd").rglob("*.py")}
        names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
        self.assertEqual(set(distribution().packages), names | {"twisted.plugins"})

    def test_all_data(self) -> None:
        """
        Every file in the package that is no module is declared as its data.
        """
        package = ROOT / "gatewayd"
        patterns = distribution().package_data["gatewayd"]
        declared = {path for pattern in patterns for path in package.glob(pattern)}
        others = {
            path
            for path in package.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc")
        }
        self.assertEqual(declared, others)
        self.assertIn(package / "py.typed", declared)

    def test_imports_are_required(self) -> None:
        """
        Every library that the package imports is one that setup.py asks for; those of the
        clients may be extras.
        """
        needed = distribution()
        asked = {canonicalize_name(Requirement(t).name) for t in needed.install_requires}
        extra = {canonicalize_name(Requirement(t).name) for t in needed.extras_require["client"]}
        # Called otherwise than imported, or there for certain because another needs it.
        called = {"attr": "attrs", "jwt": "pyjwt", "OpenSSL": "twisted", "werkzeug": "klein"}
        called |= {"annotated_types": "pydantic", "pydantic_core": "pydantic"}
        called |= {"cryptography": "pyjwt", "zope": "zope-interface"}
        for path in (ROOT / "gatewayd").rglob("*.py"):
            allowed = asked | extra if "client" in path.parts else asked
            for name in _imports(path) - set(sys.stdlib_module_names) - {"gatewayd"}:
                self.assertIn(canonicalize_name(called.get(name, name)), allowed, f"{path}: {name}")


class PinTests(SynchronousTestCase):
    """
    constraints.txt.
    """

    def test_everything_is_pinned(self) -> None:
        """
        Every requirement has a pin, so that a set-up is the same tomorrow.
        """
        self.assertEqual({canonicalize_name(r.name) for r in requirements()} - set(pins()), set())

    def test_pins_are_allowed(self) -> None:
        """
        No pin contradicts setup.py.
        """
        pinned = pins()
        for requirement in requirements():
            version = pinned[canonicalize_name(requirement.name)]
            self.assertIn(version, requirement.specifier, str(requirement))


class PluginTests(SynchronousTestCase):
    """
    What Twisted finds.
    """

    def test_joins_twisted(self) -> None:
        """
        Neither folder has an C{__init__.py}, which would hide Twisted behind ours.
        """
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_imports_nothing_of_ours(self) -> None:
        """
        Commands of Twisted that have nothing to do with us do not pay for our imports.
        """
        self.assertEqual(_imports(ROOT / "twisted/plugins/gatewayd_plugin.py"), {"twisted"})

    def test_service_maker(self) -> None:
        """
        The plugin is a command C{gateway}, made by L{gatewayd.tap}.
        """
        namespace: dict[str, Any] = {}
        exec((ROOT / "twisted/plugins/gatewayd_plugin.py").read_text(), namespace)
        maker = namespace["gateway"]
        self.assertTrue(IServiceMaker.providedBy(maker))
        self.assertTrue(IPlugin.providedBy(maker))
        self.assertEqual((maker.tapname, maker.module), ("gateway", "gatewayd.tap"))


class UnitTests(SynchronousTestCase):
    """
    systemd/gateway.service.
    """

    def setUp(self) -> None:
        """
        Read it; a key that may come several times counts once.
        """
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read(ROOT / "systemd/gateway.service")
        self.service = unit["Service"]

    def test_command(self) -> None:
        """
        It stays in the foreground with no pid file: a stale one would keep it from starting.
        """
        command = self.service["ExecStart"]
        self.assertRegex(command, r"/bin/twistd --nodaemon --pidfile= gateway --config /etc/\S+$")

    def test_memory_protection(self) -> None:
        """
        Memory may be made executable: with that denied no TLS connection works.
        """
        self.assertNotIn("MemoryDenyWriteExecute", self.service)

    def test_time_to_stop(self) -> None:
        """
        systemd waits longer than the gateway drains by default, and kills it only then.
        """
        from gatewayd.config import Gateway

        seconds = re.fullmatch(r"(\d+)s", self.service["TimeoutStopSec"])
        assert seconds is not None
        self.assertGreater(int(seconds[1]), Gateway.model_fields["drain_time"].default + 5)


def _imports(path: Path) -> set[str]:
    """
    The top-level packages that a file imports, anywhere in it.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
