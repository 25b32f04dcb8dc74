"""
The harness itself: nothing that it starts outlives it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import pytest_twisted

from tests.live.brokers import Redis
from tests.live.daemon import ROOT
from tests.live.processes import Child, exists
from tests.live.waiting import eventually, within

STARTS_A_SLEEPER = """
import os, sys
from pathlib import Path
from tests.live.processes import Child
here = Path(sys.argv[1])
child = Child(["sleep", "1000"], os.environ, here, here / "sleeper")
(here / "pid.part").write_text(str(child.pid))
(here / "pid.part").rename(here / "pid")
os.read(0, 1) or os.kill(os.getpid(), 19)
"""

HANGS = """
import pytest_twisted
import txredisapi
from pathlib import Path
from twisted.internet.defer import Deferred

@pytest_twisted.ensureDeferred
async def test_hang(redis_server):
    Path("pid.part").write_text(str(redis_server.pid))
    Path("pid.part").rename("pid")
    await Deferred()
"""


async def written_pid(path: Path) -> int:
    """
    The process id that another process writes to a file.
    """
    await eventually(path.exists, f"{path.name} to be written", timeout=20)
    return int(path.read_text())


@pytest_twisted.ensureDeferred
async def test_nothing_survives_a_killed_test_run(tmp_path: Path) -> None:
    """
    What a test run started dies with it, even if it is killed by SIGKILL.
    """
    program = [sys.executable, "-c", STARTS_A_SLEEPER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runner = Child(program, environment, tmp_path, tmp_path / "log")
    sleeper = await written_pid(tmp_path / "pid")
    assert exists(sleeper)
    runner.expected = True
    runner.send(signal.SIGKILL, group=False)
    assert await within(5, "the test run to die", runner.ended.wait()) == -signal.SIGKILL
    await eventually(lambda: not exists(sleeper), "the sleeper to be killed")


@pytest_twisted.ensureDeferred
async def test_control_c_ends_a_test_run(redis_server: Redis, tmp_path: Path) -> None:
    """
    A control-C ends a test run whose reactor waits for something, and its servers with it.
    """
    (tmp_path / "test_hangs.py").write_text(HANGS)
    program = [sys.executable, "-m", "pytest", "-p", "tests.live.conftest", "test_hangs.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runner = Child(program, environment, tmp_path, tmp_path / "log")
    try:
        server = await written_pid(tmp_path / "pid")
        assert exists(server)
        code = await runner.end(signal.SIGINT)
    finally:
        runner.sweep()
    assert code == pytest.ExitCode.INTERRUPTED, runner.log()
    assert "KeyboardInterrupt" in runner.log()
    await eventually(lambda: not exists(server), "its Redis to be gone")
