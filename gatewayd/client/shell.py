"""
What the shells for Twisted and asyncio have in common: everything but the world.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Awaitable, Callable, Iterable, Protocol

from gatewayd.client.core import Core
from gatewayd.client.effects import (
    Ask,
    Drop,
    Effect,
    Emit,
    Keep,
    Meta,
    Open,
    Send,
    Settle,
    State,
)
from gatewayd.client.errors import ClientError, Unauthorized
from gatewayd.client.events import TypedEvents
from gatewayd.client.inputs import (
    Awake,
    Close,
    Connect,
    Input,
    Leave,
    Network,
    NoToken,
    Tick,
    Token,
    Want,
)
from gatewayd.client.listeners import Listener, Listeners
from gatewayd.client.options import Identity, Timing, checked_id, checked_url

TokenFunction = Callable[[], str | Awaitable[str]]


class Store(Protocol):
    """
    Where an application keeps its place from one run to the next.
    """

    def load(self) -> str | None:
        """
        What was saved last, or L{None}.
        """

    def save(self, last_event_id: str) -> None:
        """
        Keep this. Called after the listeners have had the event; must not block.
        """


class Shell(TypedEvents):
    """
    Feeds a core, and does as it says, in order, however its listeners call back.
    """

    def __init__(
        self,
        url: str,
        *,
        user_id: str,
        token: str | TokenFunction,
        guild_ids: Iterable[str] = (),
        events: Iterable[str] = (),
        client: str | None = None,
        last_event_id: str | None = None,
        store: Store | None = None,
        timing: Timing | None = None,
        random: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """
        @param token: one, or a function that is asked for each attempt's and when one expires.
            It is called again only when it has answered. It may return an awaitable, and may
            raise L{Unauthorized}: then the client closes.
        @param guild_ids: to hear from the beginning.
        @param events: what to hear: names, or prefixes such as C{message.*}, with C{!} to
            leave out; empty for everything.
        @param client: free text for the gateway's C{/stats}.
        @param last_event_id: where an earlier client left off.
        @param store: keeps that; what it holds comes before C{last_event_id}.
        """
        if not token:
            raise ValueError("the token is a string, or a function that gives one")
        self.url = checked_url(url)
        self._token_function = None if isinstance(token, str) else token
        self._store = store
        self._clock = clock
        self._listeners = Listeners(self._follow, self._listener_failed)
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._refs = 0
        self._futures: dict[int, Any] = {}
        identity = Identity(
            user_id=user_id,
            token=token if isinstance(token, str) else None,
            events=tuple(events),
            client=client,
        )
        if store is not None:
            last_event_id = store.load() or last_event_id
        self._core = Core(
            identity,
            [checked_id(guild) for guild in guild_ids],
            timing or Timing(),
            random,
            last_event_id,
        )

    # ------------------------------------------------------- for applications

    @property
    def state(self) -> State:
        """
        Where the client is.
        """
        return self._core.state

    @property
    def last_event_id(self) -> str | None:
        """
        From where the next session would resume.
        """
        return self._core.last_event_id

    @property
    def guild_ids(self) -> tuple[str, ...]:
        """
        The guilds that the session hears now.
        """
        return self._core.guild_ids

    def _add_listener(self, name: str, listener: Listener) -> Callable[[], None]:
        return self._listeners.add(name, listener)

    def network(self, online: bool) -> None:
        """
        Tell what the operating system says of the network, if you can: a client that waits
        tries at once when it is back, and one that is connected asks whether it still is.
        """
        self.receive(Network(online))

    def awake(self) -> None:
        """
        Tell that the machine has slept.
        """
        self.receive(Awake())

    # ------------------------------------------------------------ for shells

    def receive(self, happened: Input) -> None:
        """
        Tell the core, and do as it says.
        """
        self._effects.extend(self._core.receive(happened, self._clock()))
        # A listener that calls back is served after what is under way.
        if not self._performing:
            self._performing = True
            try:
                while self._effects:
                    self._perform(self._effects.popleft())
            finally:
                self._performing = False
            self._wake(self._core.wait)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Emit(meta, data, local):
                self._tell(data, meta, local)
            case Send(text):
                self._send(text)
            case Open(attempt):
                self._open(attempt)
            case Drop(code, reason):
                self._drop(code, reason)
            case Settle(ref, error):
                self._resolve(self._futures.pop(ref), error)
            case Ask():
                self._ask()
            case Keep(last_event_id):
                self._keep(last_event_id)

    def _tell(self, data: Any, meta: Meta, local: bool) -> None:
        if local and meta.name == "error" and not self._listeners.any("error"):
            self._complain(str(data), data)
        self._listeners.tell(data, meta, local)
        if local and meta.name == "state" and data.state is State.CLOSED:
            self._ended(data.error)

    def _listener_failed(self, name: str, error: Exception) -> None:
        if name == "error" or not self._listeners.any("error"):
            self._complain(f"a listener for {name} failed", error)
            return
        failure = ClientError("listener_failed", f"a listener for {name} raised {error!r}")
        failure.__cause__ = error
        self._listeners.tell(failure, Meta("error"), local=True)

    def _keep(self, last_event_id: str) -> None:
        if self._store is None:
            return
        try:
            self._store.save(last_event_id)
        except Exception as error:
            failure = ClientError("store_failed", f"the store raised {error!r}")
            failure.__cause__ = error
            self._tell(failure, Meta("error"), local=True)

    def _ask(self) -> None:
        function = self._token_function
        assert function is not None
        try:
            answer = function()
        except Exception as error:
            self.refused(error)
            return
        if isinstance(answer, str):
            self.receive(Token(answer))
        else:
            self._await_token(answer)

    def answered(self, token: object) -> None:
        """
        The token function has answered.
        """
        if isinstance(token, str) and token:
            self.receive(Token(token))
        else:
            why = f"the token function returned a {type(token).__name__}, and no token"
            self.receive(NoToken(ClientError("token_failed", why)))

    def refused(self, error: BaseException) -> None:
        """
        The token function has raised.
        """
        final = isinstance(error, Unauthorized)
        code = "unauthorized" if final else "token_failed"
        # Its words are the application's own, and may hold what no log should.
        failure = ClientError(code, f"the token function raised {type(error).__name__}")
        failure.__cause__ = error
        self.receive(NoToken(failure, final))

    def _subscribing(self, kind: type[Want] | type[Leave], guild_id: str, future: Any) -> None:
        """
        Have C{future} given to L{_resolve} when it is done.
        """
        guild = checked_id(guild_id)
        self._refs += 1
        self._futures[self._refs] = future
        self.receive(kind(guild, self._refs))

    def _tick(self) -> None:
        self.receive(Tick())

    def _connect(self) -> None:
        self.receive(Connect())

    def _close(self) -> None:
        self.receive(Close())

    # -------------------------------------------- for a shell to bring about

    def _open(self, attempt: int) -> None:
        raise NotImplementedError

    def _send(self, text: str) -> None:
        raise NotImplementedError

    def _drop(self, code: int, reason: str) -> None:
        raise NotImplementedError

    def _wake(self, seconds: float | None) -> None:
        """
        Call L{_tick} in so many seconds, instead of when it was to be called before.
        """
        raise NotImplementedError

    def _await_token(self, answer: Awaitable[str]) -> None:
        raise NotImplementedError

    def _resolve(self, future: Any, error: ClientError | None) -> None:
        raise NotImplementedError

    def _ended(self, error: ClientError | None) -> None:
        raise NotImplementedError

    def _follow(self, result: object) -> None:
        """
        A listener returned this.
        """
        raise NotImplementedError

    def _complain(self, text: str, error: BaseException) -> None:
        """
        Log what no listener takes.
        """
        raise NotImplementedError
