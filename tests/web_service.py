"""
A web service in memory, which can be slow, wrong and silent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from treq.testing import RequestTraversalAgent
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from gatewayd.auth.web import Web

URL = "http://service.example/path?key=zzsecretzz"


class Asked(NamedTuple):
    """
    A question that came.
    """

    method: bytes
    uri: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes


class Service(Resource):
    """
    Answers every question in the same way.

    @ivar body: its answer.
    @ivar silent: it says nothing until L{release}.
    @ivar asked: what it was asked.
    @ivar gone: questions that the asker gave up.
    """

    isLeaf = True

    def __init__(self, body: bytes = b"{}") -> None:
        super().__init__()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = body
        self.silent = False
        self.asked: list[Asked] = []
        self.gone = 0
        self._held: list[Request] = []
        self.agent = RequestTraversalAgent(self)

    def render(self, request: Request) -> Any:
        """
        Answer, or not yet.
        """
        request.notifyFinish().addErrback(self._lost, request)
        assert request.content is not None
        headers = {name: list(values) for name, values in request.requestHeaders.getAllRawHeaders()}
        body = request.content.read()
        self.asked.append(Asked(request.method, request.uri, headers, body))
        if self.silent:
            self._held.append(request)
            return NOT_DONE_YET
        return self._begin(request)

    def _begin(self, request: Request) -> bytes:
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body

    def _lost(self, reason: object, request: Request) -> None:
        self.gone += 1
        if request in self._held:
            self._held.remove(request)

    def release(self) -> None:
        """
        Answer now whatever was asked.
        """
        held, self._held = self._held, []
        for request in held:
            request.write(self._begin(request))
            request.finish()
        self.flush()

    def say(self, *parts: bytes) -> None:
        """
        Begin to answer, and do not end.
        """
        for request in self._held:
            self._begin(request)
            for part in parts:
                request.write(part)
        self.flush()

    def hang_up(self) -> None:
        """
        Say nothing more to whoever waits.
        """
        for request in self._held:
            assert request.transport is not None
            request.transport.loseConnection()
        self.flush()

    def flush(self) -> None:
        """
        Let what was written arrive.
        """
        for _ in range(3):
            self.agent.flush()

    def web(self, clock: IReactorTime, **bounds: Any) -> Web:
        """
        The way to it.
        """
        usual: dict[str, Any] = {"patience": 5.0, "longest": 1000, "at_once": 8}
        return Web(clock, self.agent, **{**usual, **bounds})
