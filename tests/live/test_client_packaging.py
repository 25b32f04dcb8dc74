"""
What the SDKs' packages hold, and that they work where they are installed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
import pytest_twisted

from gatewayd import __version__
from tests.browser.drivers import JS, ROOT, build, command, need
from tests.live.test_packaging import Environment, output

CONSUMER = """\
import { GatewayClient, type MessageCreate } from "@gatewayd/client";

declare module "@gatewayd/client" {
  interface Events { "poll.close": { pollId: string } }
}
const client = new GatewayClient({ url: "wss://gateway.test/", userId: "u1", token: "t0" });
client.on("message.create", (message: MessageCreate) => message.id.length);
client.on("poll.close", ({ pollId }) => pollId.length);
console.log(client.state);
"""

# They build the same directory, one after the other.
pytestmark = pytest.mark.xdist_group("npm")

COMPILER = {"strict": True, "target": "es2022", "module": "nodenext", "types": []}

TYPED = """\
from gatewayd.client.asyncio import GatewayClient
from gatewayd.client.events import MessageCreate

client = GatewayClient("wss://gateway.test/", user_id="u1", token="t0")
def heard(message: MessageCreate, _: object) -> int:
    return len(message["id"])
client.on("message.create", heard)
client.on("typing.start", heard)  # E: wrong data
reveal_type(client.state)
"""


def test_python_build(tmp_path: Path) -> None:
    """
    C{python -m build} makes a source distribution and a wheel; both hold all of the client, the
    wheel nothing of the TypeScript one, and a client works from it.
    """
    copy = tmp_path / "checkout"
    ignore = shutil.ignore_patterns("__pycache__", "dropin.cache", "node_modules", "dist", "build")
    for name in ("gatewayd", "twisted", "clients", "etc", "systemd"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in (
        *("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE"),
        *("Makefile", "constraints.txt"),
    ):
        shutil.copy(ROOT / name, copy)
    building = (sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check")
    output(*building, "--outdir", tmp_path, copy, cwd=tmp_path)
    (sdist,) = tmp_path.glob("gatewayd-*.tar.gz")
    (wheel,) = tmp_path.glob("gatewayd-*.whl")
    expected = {
        f"gatewayd/client/{path.name}" for path in (ROOT / "gatewayd" / "client").glob("*.py")
    }
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        assert "Provides-Extra: client" in archive.read(metadata).decode()
    assert expected <= names
    assert not any(name.startswith("clients") for name in names)
    with tarfile.open(sdist) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert expected <= inside

    environment = Environment(tmp_path / "environment")
    environment.install(wheel)
    program = (
        "from gatewayd.client.asyncio import GatewayClient; import gatewayd; "
        "print(GatewayClient('ws://x/', user_id='u', token='t').state, gatewayd.__file__)"
    )
    said = output(environment.python, "-c", program, cwd=tmp_path)
    assert said.startswith("idle ")
    assert str(ROOT) not in said


def test_python_types(tmp_path: Path) -> None:
    """
    The types of events reach an application: the right data passes, the wrong one does not.
    """
    (tmp_path / "application.py").write_text(TYPED, encoding="utf-8")
    from mypy import api

    report, _, code = api.run(["--strict", "--cache-dir", str(tmp_path), str(tmp_path)])
    assert code == 1
    errors = [line for line in report.splitlines() if ": error:" in line]
    assert len(errors) == 1, report
    assert "application.py:8" in errors[0]
    assert 'Revealed type is "gatewayd.client.effects.State"' in report


@pytest_twisted.ensureDeferred
async def test_npm_pack(tmp_path: Path) -> None:
    """
    C{npm pack} packs what was built, its types, the README and the licence, and nothing else; a
    project that installs it type-checks, and runs in Node.
    """
    need("node")
    await build()
    packed = json.loads(
        # Its scripts would build anew, under the tests that run beside this one.
        await command(
            *("npm", "pack", "--json", "--silent", "--ignore-scripts"),
            *("--pack-destination", str(tmp_path)),
        )
    )
    report = packed[0] if isinstance(packed, list) else next(iter(packed.values()))
    names = {one["path"] for one in report["files"]}
    modules = {path.relative_to(JS / "src") for path in (JS / "src").rglob("*.ts")}
    built = {
        f"dist/{module.with_suffix(suffix)}" for module in modules for suffix in (".js", ".d.ts")
    }
    assert names == built | {"package.json", "README.md", "LICENSE"}
    assert report["version"] == __version__
    assert report["name"] == "@gatewayd/client"

    project = tmp_path / "project"
    package = project / "node_modules" / "@gatewayd" / "client"
    package.mkdir(parents=True)
    (tarball,) = tmp_path.glob("*.tgz")
    with tarfile.open(tarball) as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.copytree(tmp_path / "package", package, dirs_exist_ok=True)
    (project / "main.ts").write_text(CONSUMER, encoding="utf-8")
    (project / "package.json").write_text('{"type": "module"}')
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER}))
    await command("npx", "tsc", "-p", str(project))
    assert (await command("node", str(project / "main.js"))).strip() == "idle"


@pytest_twisted.ensureDeferred
async def test_bundle(tmp_path: Path) -> None:
    """
    Bundled for browsers, the SDK is small, and holds nothing of Node.
    """
    need("node")
    await build()
    bundle = tmp_path / "client.js"
    await command(
        *("npx", "esbuild", "dist/index.js", "--bundle", "--minify", "--format=esm"),
        *("--platform=browser", "--target=es2022", f"--outfile={bundle}", "--log-level=warning"),
    )
    text = bundle.read_text()
    assert len(text) < 20_000
    assert 'import("' not in text
    assert "require(" not in text
