"""
What the drivers of the Python SDKs have in common.
"""

from __future__ import annotations

import time
from typing import Any, Awaitable, Callable, NamedTuple

import msgspec

from gatewayd.client import ClientError, Meta, Timing, Unauthorized
from gatewayd.client.effects import State

CAN = ["status"]

Done = Callable[[BaseException | None], None]


class Promise(NamedTuple):
    """
    What a token function returns, and how it is settled.
    """

    awaitable: Awaitable[str]
    answer: Callable[[str], object]
    fail: Callable[[Exception], object]


class World(NamedTuple):
    """
    What differs: the client, and how one waits.
    """

    client: Any
    promise: Callable[[], Promise]
    follow: Callable[[Awaitable[None], Done], None]


class Store:
    """
    A store that tells what it is given.
    """

    def __init__(self, held: str, tell: Callable[..., None]) -> None:
        self._held = held
        self._tell = tell

    def load(self) -> str | None:
        """
        See L{gatewayd.client.shell.Store.load}.
        """
        return self._held

    def save(self, last_event_id: str) -> None:
        """
        See L{gatewayd.client.shell.Store.save}.
        """
        self._tell(kept=last_event_id)


class Part:
    """
    One client, which does as it is told.
    """

    def __init__(
        self, world: World, url: str, options: dict[str, Any], tell: Callable[..., None]
    ) -> None:
        self._world = world
        self._tell = tell
        self._leap = 0.0
        self._calls = 0
        self._promises: list[Promise] = []
        given = dict(options)
        arguments: dict[str, Any] = {
            "user_id": given.pop("userId"),
            "token": given.pop("token") or self._token,
            "guild_ids": given.pop("guildIds"),
            "events": given.pop("events", ()),
            "client": given.pop("client", None),
            "last_event_id": given.pop("lastEventId", None),
            "timing": _timing(given.pop("timing")),
            "clock": lambda: time.monotonic() + self._leap,
        }
        if "store" in given:
            arguments["store"] = Store(given.pop("store"), tell)
        if "random" in given:
            draw = given.pop("random")
            arguments["random"] = lambda: draw
        if given:
            raise ValueError(f"options that this driver does not know: {given}")
        self.client = world.client(url, **arguments)
        self._listen()

    def _listen(self) -> None:
        on, tell = self.client.on, self._tell
        on("*", lambda data, meta: tell(event=meta.name, **_marks(meta), data=data))
        on("state", lambda change, _: tell(state=change.state, **_error(change.error)))
        on("resync", lambda resync, _: tell(resync=list(resync.guild_ids)))
        on("error", lambda error, _: tell(**_error(error)))
        on("guild_subscribed", lambda data, _: tell(guildSubscribed=data["guildId"]))
        on(
            "guild_unsubscribed",
            lambda data, _: tell(guildUnsubscribed=data["guildId"], reason=data.get("reason")),
        )

    def _token(self) -> Awaitable[str]:
        self._calls += 1
        promise = self._world.promise()
        self._promises.append(promise)
        self._tell(token=self._calls)
        return promise.awaitable

    def do(self, verb: str, **more: Any) -> None:
        """
        Do one thing.
        """
        getattr(self, f"do_{verb}")(**more)

    def do_connect(self) -> None:
        """
        Run the client.
        """

        def ended(error: BaseException | None) -> None:
            # How a client ends is told by its state.
            if error is not None and not isinstance(error, ClientError):
                raise error

        self._world.follow(self.client.run(), ended)

    def do_close(self) -> None:
        """
        Close it.
        """
        if self.client.state is not State.IDLE:
            closing = self.client.close()
            if closing is not None:
                self._world.follow(closing, lambda _error: None)

    def do_subscribe(self, **what: str) -> None:
        """
        Subscribe to C{guildId}, C{as} something.
        """
        self._settle(what["as"], self.client.subscribe(what["guildId"]))

    def do_unsubscribe(self, **what: str) -> None:
        """
        Unsubscribe from C{guildId}, C{as} something.
        """
        self._settle(what["as"], self.client.unsubscribe(what["guildId"]))

    def _settle(self, name: str, wait: Awaitable[None]) -> None:
        def done(error: BaseException | None) -> None:
            self._tell(done=name, error=getattr(error, "code", error and repr(error)))

        self._world.follow(wait, done)

    def do_token(self, value: str = "", fail: str = "") -> None:
        """
        Answer the oldest call of the token function.
        """
        promise = self._promises.pop(0)
        if fail:
            promise.fail(Unauthorized() if fail == "unauthorized" else ValueError("no token"))
        else:
            promise.answer(value)

    def do_network(self, online: bool) -> None:
        """
        Go on or off line.
        """
        self.client.network(online)

    def do_awake(self) -> None:
        """
        Wake up.
        """
        self.client.awake()

    def do_clock(self, by: int) -> None:
        """
        Set the clock.
        """
        self._leap += by / 1000


def _timing(milliseconds: dict[str, int]) -> Timing:
    return Timing(
        **{
            "".join(f"_{c.lower()}" if c.isupper() else c for c in name): value / 1000
            for name, value in milliseconds.items()
        }
    )


def _marks(meta: Meta) -> dict[str, str | None]:
    return {"id": meta.id, "guildId": meta.guild_id}


def _error(error: ClientError | None) -> dict[str, Any]:
    if error is None:
        return {"error": None}
    return {"error": error.code, "closeCode": error.close_code, "status": error.status}


class Parts:
    """
    All clients of a driver.
    """

    def __init__(self, world: World, send: Callable[[bytes], None]) -> None:
        self._world = world
        self._send = send
        self._parts: dict[int, Part] = {}

    def told(self, text: str | bytes) -> None:
        """
        The theatre says something.
        """
        message = msgspec.json.decode(text)
        number, verb = message.pop("client"), message.pop("do")

        def tell(**seen: Any) -> None:
            self._send(msgspec.json.encode({"client": number, "saw": seen}))

        try:
            if verb == "make":
                self._parts[number] = Part(self._world, tell=tell, **message)
            else:
                self._parts[number].do(verb, **message)
        except Exception as error:
            self._send(msgspec.json.encode({"fault": f"{verb} {message}: {error!r}"}))
