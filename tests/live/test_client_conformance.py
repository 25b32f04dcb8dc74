"""
The Python SDKs do all that the conformance script asks of a client.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted

from clients.conformance.script import load
from tests.browser.drivers import theatre


@pytest.mark.parametrize("name", ["asyncio", "twisted"])
@pytest_twisted.ensureDeferred
async def test_conformance(name: str, tmp_path: Path) -> None:
    """
    Every case of the script passes, and every one is for this SDK.
    """
    cases = load()
    async with theatre(tmp_path, name) as (stage, casts):
        outcomes = await stage.play(casts[name], cases)
    faults = [f"{one.name}: {one.fault}" for one in outcomes if one.fault]
    assert not faults, "\n".join(faults)
    assert [one.name for one in outcomes if one.played] == [case.name for case in cases]
