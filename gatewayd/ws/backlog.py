"""
How much a transport still holds of what was written to it.

Twisted has no public word for this, and producers cannot stand in for it: C{pauseProducing}
is also called when one turn of the reactor writes more than 64 KiB to a client that reads
as fast as it can.
"""

from __future__ import annotations

from typing import Any

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
    # A wrapper, such as PROXY protocol's, is its own transport's protocol.
    while not hasattr(transport, "_tempDataLen"):
        inner = getattr(transport, "wrappedProtocol", None) or getattr(transport, "transport", None)
        if inner is None or inner is transport:
            return waiting
        transport = inner
    unsent: int = transport._tempDataLen + len(transport.dataBuffer) - transport.offset
    return waiting + unsent
