"""
Who hears what.
"""

from __future__ import annotations

from typing import Any, Callable

from gatewayd.client.effects import Meta

Listener = Callable[[Any, Meta], object]

EVERYTHING = "*"


class Listeners:
    """
    The application's callbacks, by the name of what they are for.

    @ivar result: called with what a listener returned: it may be something to wait for.
    @ivar failed: called with what a listener raised, which never keeps another from hearing.
    """

    def __init__(
        self, result: Callable[[object], None], failed: Callable[[str, Exception], None]
    ) -> None:
        self._result = result
        self._failed = failed
        self._by_name: dict[str, list[Listener]] = {}

    def add(self, name: str, listener: Listener) -> Callable[[], None]:
        """
        Call C{listener(data, meta)} for all that C{name} stands for, C{*} for every event of
        the platform.

        @return: call it to end that.
        """
        listeners = self._by_name.setdefault(name, [])
        listeners.append(listener)

        def remove() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return remove

    def any(self, name: str) -> bool:
        """
        Whether anybody listens for C{name}.
        """
        return bool(self._by_name.get(name))

    def tell(self, data: Any, meta: Meta, local: bool) -> None:
        """
        Call those whom it concerns, in the order in which they were added.
        """
        # An event whose name is a word of ours is none of that word's.
        ours = local or meta.name not in ("state", "resync", EVERYTHING)
        concerned = [
            *(self._by_name.get(meta.name, ()) if ours else ()),
            *(self._by_name.get(EVERYTHING, ()) if not local else ()),
        ]
        for listener in concerned:
            try:
                self._result(listener(data, meta))
            except Exception as error:
                self._failed(meta.name, error)
