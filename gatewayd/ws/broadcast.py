"""
One frame to many sockets. The hot loop of the house.
"""

from __future__ import annotations

from typing import Sequence

from zope.interface import implementer

from gatewayd.interfaces import IBroadcaster, ISink


@implementer(IBroadcaster)
class Broadcaster:
    """
    Writes to each in turn.
    """

    def broadcast(self, frame: bytes, sinks: Sequence[ISink]) -> None:
        """
        See L{IBroadcaster.broadcast}.
        """
        for sink in sinks:
            sink.send(frame)
