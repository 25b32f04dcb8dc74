"""
Plays the script to one driver: C{python -m clients.conformance [--only NAME] COMMAND...}, where
the command is the driver's and is given the control URL as its last argument.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Sequence

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from clients.conformance.script import load
from clients.conformance.theatre import Outcome, Theatre


class Driver(ProcessProtocol):
    """
    The driver's process, which speaks to our terminal.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        """
        It is over.
        """
        self.ended.callback(None)


def report(outcomes: Sequence[Outcome], seconds: float) -> int:
    """
    Print what came of it.

    @return: how many failed.
    """
    failed = [one for one in outcomes if one.fault]
    for one in failed:
        print(f"FAILED {one.name}\n    {one.fault}")
    skipped = [one.name for one in outcomes if not one.played]
    if skipped:
        print(f"not for this driver: {', '.join(skipped)}")
    passed = len(outcomes) - len(failed) - len(skipped)
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped in {seconds:.1f} s")
    return len(failed)


async def main(reactor: Any, arguments: list[str]) -> None:
    """
    Play, and exit with 1 if a case failed.
    """
    cases = load()
    if arguments[:1] == ["--only"]:
        cases = [case for case in cases if case.name.startswith(arguments[1])]
        arguments = arguments[2:]
    if not arguments:
        raise SystemExit(__doc__)
    theatre = Theatre(reactor)
    driver = Driver()
    inherited = {0: 0, 1: 1, 2: 2}
    command = [*arguments, theatre.control]
    reactor.spawnProcess(driver, command[0], command, env=os.environ, childFDs=inherited)
    cast = await theatre.casts.next(patience=60)
    started = time.monotonic()
    outcomes = await theatre.play(cast, cases)
    print(f"{cast.name}: ", end="")
    failed = report(outcomes, time.monotonic() - started)
    cast.dismiss()
    await driver.ended
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(reactor, sys.argv[1:])))
