"""
How much a transport still holds of what was written to it, and whether one may write past it.

Twisted has no public word for this, and producers cannot stand in for it: C{pauseProducing}
is also called when one turn of the reactor writes more than 64 KiB to a client that reads
as fast as it can.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.protocols.tls import TLSMemoryBIOProtocol


def backlog(transport: Any) -> int:
    """
    Bytes accepted by C{transport} and not yet taken by the kernel. Over TLS the encrypted
    ones count, and those that wait to be encrypted.
    """
    waiting = 0
    while isinstance(transport, TLSMemoryBIOProtocol):
        waiting += sum(map(len, transport._appSendBuffer))
        transport = transport.transport
    # Wrappers, such as PROXY protocol's, pass on what they are asked; a test's may not.
    while not hasattr(transport, "_tempDataLen"):
        inner = getattr(transport, "transport", None)
        if inner is None or inner is transport:
            return waiting
        transport = inner
    unsent: int = transport._tempDataLen + len(transport.dataBuffer) - transport.offset
    return waiting + unsent


def plain_descriptor(transport: Any) -> int:
    """
    The file descriptor that gets what is written to C{transport} as it is; -1 where it is
    encrypted on the way, or no file is behind it.
    """
    while not isinstance(transport, FileDescriptor):
        if isinstance(transport, TLSMemoryBIOProtocol):
            return -1
        inner = getattr(transport, "transport", None)
        if inner is None or inner is transport:
            return -1
        transport = inner
    # A connection that was encrypted by startTLS is its own protocol's transport still.
    return -1 if getattr(transport, "TLS", False) else int(transport.fileno())
