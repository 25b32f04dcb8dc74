"""
The script: its cases, and how they are written down.

Each step is an object with one verb.

======================  =====================================================================
The server
----------------------  ---------------------------------------------------------------------
C{accept}               waits for the client to connect and upgrades; C{after}: no sooner than
                        so many milliseconds after what the server did last
C{refuse}               waits, and answers with an HTTP C{status}, C{headers}
C{hang}                 waits, and does not answer
C{reset}                waits, and resets, or resets the connection there is
C{ready}                says C{ready}, with these members in place of the usual ones
C{session}              C{accept}, C{ready}, hears C{identify} (which must hold C{asked}), says
                        C{identified} with the other members, and sees the client get there
C{say}, C{text}         sends a message; sends any text
C{hear}                 waits for a message, which must match
C{shut}                 closes with C{code} and C{reason}
C{mute}                 from now on neither reads nor writes: a half-open connection
C{gone}                 waits until the client has left, with C{code}
----------------------  ---------------------------------------------------------------------
The application
----------------------  ---------------------------------------------------------------------
C{do}                   C{connect}, C{close}, C{subscribe}, C{unsubscribe} (C{guildId}, C{as}),
                        C{token} (the token function answers with C{value}, or fails: C{fail}
                        is C{error} or C{unauthorized}), C{network} (C{online}), C{awake},
                        C{clock} (leaps C{by} milliseconds)
C{saw}                  waits for what the application sees next of this kind, which must match
C{none}                 of this kind nothing was seen that no step has spoken of
======================  =====================================================================

C{on: N} beside a verb means the Nth connection of the case instead of the last. What must match
must hold at least the members given, and lists must be the same. When a case ends, everything
its application saw must have been spoken of, errors and what was kept in the store excepted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec import Struct, convert

PATH = Path(__file__).with_name("cases.json")


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """
    One behaviour.

    @ivar says: it, in one sentence.
    @ivar options: of the client, with times in milliseconds.
    @ivar needs: what a driver must be able to, or the case is not for it. C{status}: see the
        HTTP status of a refused upgrade, which browsers do not show.
    @ivar alone: what it does is done to the whole page, so that no other is played beside it.
    """

    name: str
    says: str
    steps: list[dict[str, Any]]
    options: dict[str, Any] = {}
    needs: list[str] = []
    alone: bool = False


class Template(Case, frozen=True, forbid_unknown_fields=True, rename={"rows": "with"}):
    """
    A case for each of C{rows}: C{"$key"} in it stands for the row's value.
    """

    rows: list[dict[str, Any]] = []


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """
    All of it.

    @ivar options: what every case's begin with.
    """

    options: dict[str, Any]
    cases: list[Template]


def load(path: Path = PATH) -> list[Case]:
    """
    The cases of a script.

    @raise ValueError: it is not well written.
    """
    script = convert(json.loads(path.read_text(encoding="utf-8")), Script)
    cases = [case for template in script.cases for case in _played(template, script.options)]
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two cases are named {name}")
    return cases


def _played(template: Template, usual: dict[str, Any]) -> list[Case]:
    cases = []
    for row in template.rows or [{}]:
        name = template.name
        if row:
            name += "-" + "-".join(str(value) for value in list(row.values())[:1])
        options = _filled(template.options, row)
        timing = usual.get("timing", {}) | options.get("timing", {})
        cases.append(
            Case(
                name=name,
                says=_worded(template.says, row),
                steps=_filled(template.steps, row),
                options=usual | options | {"timing": timing},
                needs=template.needs,
                alone=template.alone,
            )
        )
    return cases


def _filled(value: Any, row: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, row) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, row) for one in value]
    if isinstance(value, str) and value.startswith("$"):
        return row[value[1:]]
    return value


def _worded(text: str, row: dict[str, Any]) -> str:
    for key, value in row.items():
        text = text.replace(f"${key}", str(value))
    return text
