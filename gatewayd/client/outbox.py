"""
What a core has to say to its shell, in order.
"""

from __future__ import annotations

from typing import Any

from gatewayd.client.effects import Effect, Emit, Meta, State, StateChange
from gatewayd.client.errors import ClientError


class Outbox:
    """
    Collects effects until the shell takes them.

    @ivar state: where the client is.
    """

    def __init__(self) -> None:
        self.state = State.IDLE
        self._effects: list[Effect] = []

    def put(self, effect: Effect) -> None:
        """
        One more.
        """
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        """
        All there are.
        """
        effects, self._effects = self._effects, []
        return effects

    def tell(self, name: str, data: Any) -> None:
        """
        Have the application hear something that is no event of the platform.
        """
        self.put(Emit(Meta(name), data, local=True))

    def error(self, error: ClientError) -> None:
        """
        Have the application hear that something went wrong.
        """
        self.tell("error", error)

    def become(
        self, state: State, retry_in: float | None = None, error: ClientError | None = None
    ) -> None:
        """
        The client is somewhere else.
        """
        previous, self.state = self.state, state
        self.tell("state", StateChange(state, previous, retry_in, error))
