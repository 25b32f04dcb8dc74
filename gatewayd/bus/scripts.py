"""
The scripts that run inside Redis, and the names of what they touch.
"""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import Any, Sequence

from attrs import field, frozen

from gatewayd.bus.connection import Connection, Refused
from gatewayd.bus.inquiry import Look, Opened
from gatewayd.bus.wire import position_of


@frozen
class Keys:
    """
    The keys of one channel.

    @ivar cluster: give them a common hash tag, so that Redis Cluster keeps them together.
    """

    channel: str
    cluster: bool = False
    _stem: str = field(init=False, repr=False)

    @_stem.default
    def _make_stem(self) -> str:
        return f"{{{self.channel}}}" if self.cluster else self.channel

    @property
    def log(self) -> str:
        """
        The stream.
        """
        return f"{self._stem}:log"

    @property
    def facts(self) -> str:
        """
        What is known about the stream (see C{open.lua}).
        """
        return f"{self._stem}:meta"

    @property
    def unsettled(self) -> str:
        """
        What the present consumer published and its broker may deliver again (see
        C{publish.lua}).
        """
        return f"{self._stem}:unsettled"

    @property
    def inherited(self) -> str:
        """
        What the consumers before it left so.
        """
        return f"{self._stem}:inherited"

    @property
    def instances(self) -> str:
        """
        The rows of the roster.
        """
        return f"{self._stem}:instances"

    def seen(self, uid: str) -> str:
        """
        The position that an event was given.
        """
        return f"{self._stem}:seen:{uid}"


class Script:
    """
    One script, sent whole only to a Redis that does not have it.
    """

    def __init__(self, name: str) -> None:
        """
        @param name: a file beside this one.
        """
        self._text = files("gatewayd.bus").joinpath(name).read_bytes()
        self._digest = sha1(self._text, usedforsecurity=False).hexdigest()

    async def run(
        self, connection: Connection, keys: Sequence[str], args: Sequence[bytes | str | int]
    ) -> Any:
        """
        @raise Refused: it failed.
        @raise Lost: whether it ran is unknown.
        """
        try:
            return await connection.ask("EVALSHA", self._digest, len(keys), *keys, *args)
        except Refused as error:
            if error.kind != "NOSCRIPT":
                raise
        return await connection.ask("EVAL", self._text, len(keys), *keys, *args)


PUBLISH = Script("publish.lua")
OPEN = Script("open.lua")
ANNOUNCE = Script("announce.lua")
ROWS = Script("rows.lua")


async def open_log(
    connection: Connection, keys: Keys, look: Look, fresh: str, name: str | None = None
) -> Opened:
    """
    Ask which log there is, and make one if there is none.

    @param fresh: an id for it, then.
    @param name: of the instance, if it has only just connected.
    """
    answer = await OPEN.run(
        connection,
        (keys.log, keys.facts),
        (
            keys.channel,
            look.log,
            str(look.newest),
            str(look.told),
            "1" if look.torn else "0",
            fresh,
            *([] if name is None else [name]),
        ),
    )
    log, start, head, prior, length = answer
    return Opened(log.decode(), position_of(start), position_of(head), position_of(prior), length)
