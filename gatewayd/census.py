"""
Every connection there is, identified or not: for limits, for administration, and to find
the sessions that a membership event moves.
"""

from __future__ import annotations

from typing import Generic, Iterator, Protocol, TypeVar


class Resident(Protocol):
    """
    What the census needs to know of a connection.
    """

    session_id: str
    user: str


R = TypeVar("R", bound=Resident)


class Census(Generic[R]):
    """
    Connections by session id and by user.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, R] = {}
        self._by_user: dict[str, dict[str, R]] = {}
        self.identified = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._by_id.values()))

    @property
    def users(self) -> int:
        """
        How many different users are identified.
        """
        return len(self._by_user)

    def opened(self, one: R) -> None:
        """
        A handshake is done.
        """
        self._by_id[one.session_id] = one

    def identified_as(self, one: R) -> None:
        """
        C{one.user} is now known to be its user.
        """
        self._by_user.setdefault(one.user, {})[one.session_id] = one
        self.identified += 1

    def gone(self, one: R) -> None:
        """
        The connection is lost. Saying so twice is harmless.
        """
        if self._by_id.pop(one.session_id, None) is None:
            return
        sessions = self._by_user.get(one.user)
        if sessions is not None and sessions.pop(one.session_id, None) is not None:
            self.identified -= 1
            if not sessions:
                del self._by_user[one.user]

    def count_of(self, user: str) -> int:
        """
        How many identified connections a user has.
        """
        return len(self._by_user.get(user, ()))

    def of_user(self, user: str) -> list[R]:
        """
        The identified connections of a user, oldest first.
        """
        return list(self._by_user.get(user, {}).values())
