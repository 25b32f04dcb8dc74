"""
What a source counts of itself.
"""

from __future__ import annotations

from attrs import define


@define
class Counts:
    """
    Totals since the start; they only grow.

    @ivar connects: times it became ready to deliver.
    @ivar deliveries: messages handed on.
    @ivar redelivered: of these, those that some consumer may have seen before.
    @ivar acked: messages published as events.
    @ivar rejected: messages that could never become an event.
    @ivar requeued: messages handed on and given back.
    """

    connects: int = 0
    deliveries: int = 0
    redelivered: int = 0
    acked: int = 0
    rejected: int = 0
    requeued: int = 0
