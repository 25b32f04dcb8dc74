"""
A client for this gateway: one pure core (L{gatewayd.client.core}), and a shell for each world,
L{gatewayd.client.asyncio} and L{gatewayd.client.twisted}.
"""

from __future__ import annotations

from gatewayd.client.effects import Meta, Resync, State, StateChange
from gatewayd.client.errors import ClientError, Unauthorized
from gatewayd.client.options import Timing

__all__ = ["ClientError", "Meta", "Resync", "State", "StateChange", "Timing", "Unauthorized"]
