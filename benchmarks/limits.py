"""
How many connections this machine lets one process have.
"""

from __future__ import annotations

import resource

SPARE = 200
"""
File descriptors that a server and its libraries need for themselves.
"""


def raise_limits() -> None:
    """
    Let this process, and all that it starts, open as many files as it may.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_clients() -> int:
    """
    The most connections that one server can have here.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return max(hard - SPARE, 0) if hard != resource.RLIM_INFINITY else 1_000_000


def possible(clients: int) -> tuple[int, str]:
    """
    As many of C{clients} as this machine allows, and what to say if that is fewer.
    """
    most = most_clients()
    if clients <= most:
        return clients, ""
    return most, (
        f"{most} clients instead of {clients}: a process may open {most + SPARE} files here, and "
        f"not more. To allow it: ulimit -Hn {clients + SPARE}, as root"
    )
