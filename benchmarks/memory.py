"""
The guard on memory: a client must not cost a tenth more than it did when that was last
looked at, which is recorded in C{memory.json}.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from benchmarks.connections import Idle, idle
from benchmarks.limits import possible

RECORD = Path(__file__).with_name("memory.json")
CLIENTS = 5000
TOLERANCE = 1.10


def guard(*, record: bool) -> tuple[bool, str]:
    """
    Measure, and compare with the record, or write it anew.

    @return: whether all is well, and what to say.
    @raise Failed: it could not be measured.
    """
    clients, shortage = possible(CLIENTS)
    if shortage:
        return False, f"NOT MEASURED: {shortage}"
    found = idle(clients, heartbeats=False)
    words = (
        f"{found.resident_kib:.2f} KiB of resident memory for an idle identified client of 3 "
        f"guilds ({found.clients} clients)"
    )
    if record:
        RECORD.write_text(json.dumps(_facts(found), indent=2) + "\n")
        return True, f"{words}; recorded in {RECORD}"
    if not RECORD.exists():
        return False, f"{words}; there is no {RECORD} to compare with: add --record to make it"
    recorded = json.loads(RECORD.read_text())
    limit = recorded["resident_kib"] * TOLERANCE
    if _python(recorded) != _python(_facts(found)):
        words += f" (recorded on {recorded['python']}, measured on {_facts(found)['python']})"
    if found.resident_kib > limit:
        return False, (
            f"REGRESSED: {words}, and {recorded['resident_kib']:.2f} is recorded, so at most "
            f"{limit:.2f} is allowed. If that is what it should cost now: --record"
        )
    return True, f"{words}; {recorded['resident_kib']:.2f} is recorded, {limit:.2f} allowed"


def _facts(found: Idle) -> dict[str, Any]:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "resident_kib": round(found.resident_kib, 2),
        "clients": found.clients,
        "python": f"{python}, {platform.machine()}",
    }


def _python(facts: dict[str, Any]) -> str:
    return ".".join(str(facts["python"]).split(".")[:2])
