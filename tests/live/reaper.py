"""
The last one to leave a test run. A script, which waits for its standard input to end, as it does
however the test run ends, C{SIGKILL} included; then it kills every process group it was told of.

A line C{+PID} adds a group, C{-PID} takes it off.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """
    Outlive the test run, and clean up behind it.
    """
    # A control-C in the terminal is for the test run. It may end by it; this must not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
