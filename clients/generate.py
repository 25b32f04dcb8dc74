"""
Writes what is made from docs/asyncapi.yaml: C{python -m clients.generate}. With C{--check} it
writes nothing, and fails if anything there differs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from clients.generation import page, python, typescript
from clients.generation.contract import Contract

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "asyncapi.yaml"


def made(contract: Contract) -> dict[Path, str]:
    """
    Every file that is generated, and what belongs in it.
    """
    sources = ROOT / "clients" / "js" / "src" / "generated"
    return {
        ROOT / "gatewayd" / "client" / "events.py": python.events(contract),
        sources / "events.ts": typescript.events(contract),
        sources / "closing.ts": typescript.closing(contract),
        ROOT / "docs" / "messages.rst": page.messages(contract),
    }


def stale(contract: Contract) -> list[Path]:
    """
    The files that are not as they should be.
    """
    return [
        path
        for path, text in made(contract).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str]) -> int:
    """
    @return: the exit code.
    """
    contract = Contract.load(SOURCE)
    if "--check" in arguments:
        for path in stale(contract):
            print(f"{path.relative_to(ROOT)} is not what docs/asyncapi.yaml makes of it")
        return 1 if stale(contract) else 0
    for path, text in made(contract).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
