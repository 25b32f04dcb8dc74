"""
What the operating system says that processes have cost.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple, Sequence

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Account(NamedTuple):
    """
    What some processes together have used until now.

    @ivar cpu: seconds of user and system time. How they divide is not told: where the kernel
        accounts by its clock tick, as most do, that is a guess, and a poor one for a process
        that is woken by the same tick.
    @ivar resident: bytes in memory.
    """

    cpu: float
    resident: int

    def since(self, earlier: Account) -> Account:
        """
        The difference.
        """
        return Account(self.cpu - earlier.cpu, self.resident - earlier.resident)


def family(pid: int) -> list[int]:
    """
    A process and all that descend from it.
    """
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def account(pids: Sequence[int]) -> Account:
    """
    The sum of what C{pids} have used, threads that have ended included.

    @raise OSError: one of them has ended.
    """
    # stat(5) tells ticks of 10 ms; a process' own clock, which may be read by anybody, tells
    # nanoseconds. The arithmetic is that of clock_getcpuclockid(3).
    cpu = sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return Account(cpu, pages * _PAGE)
