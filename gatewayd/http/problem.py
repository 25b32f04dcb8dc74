"""
Errors as HTTP says them: C{application/problem+json} (RFC 9457), always.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Iterator
from uuid import uuid4

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from gatewayd.errors import BadEnvelopes, Busy, GatewayError, Stopped

CONTENT_TYPE = b"application/problem+json"

ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""
The headers of every answer, good or bad.
"""

RETRY_BUSY = b"1"
RETRY_STOPPED = b"5"
"""
Seconds. An instance that is busy is asked again soon; one that is leaving is given the
time in which whatever stands in front of it notices.
"""


class Problem(GatewayError):
    """
    Something to answer instead of what was asked for.

    @ivar instance: names this one occurrence (RFC 9457, section 3.1.5); the log has it too
        where the fault is ours.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        title: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        **more: Any,
    ) -> None:
        """
        @param detail: one sentence for the person who sent the request: what happened and
            what to do. It goes to whoever asked, so nothing secret may be in it.
        @param kind: a word for programs that must tell this from other problems of the same
            status; L{None} where the status says it all.
        @param title: what C{kind} means; by default the status' own phrase.
        @param more: further members of the object, of any JSON type.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.title = title or self.phrase.decode()
        self.instance = uuid4().urn
        self._headers = headers
        self._more = more

    @property
    def phrase(self) -> bytes:
        """
        The status line's reason.
        """
        return HTTPStatus(self.status).phrase.encode()

    def body(self) -> bytes:
        """
        The JSON object.
        """
        members = {
            "type": "about:blank" if self.kind is None else f"tag:gatewayd,2026:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
        }
        return msgspec.json.encode(members | self._more)

    def headers(self, length: int) -> Iterator[tuple[bytes, bytes]]:
        """
        The header fields that go with a body of C{length} bytes.
        """
        yield from ALWAYS
        yield b"Content-Type", CONTENT_TYPE
        yield b"Content-Length", b"%d" % length
        yield from self._headers


def answer(request: Request, problem: Problem) -> bytes:
    """
    Make C{problem} the answer to C{request}, and return the body that is to be written.
    """
    body = problem.body()
    request.setResponseCode(problem.status, problem.phrase)
    for name, value in problem.headers(len(body)):
        request.setHeader(name, value)
    return body


def too_large(limit: int) -> Problem:
    """
    The body has more than C{limit} bytes.
    """
    return Problem(413, f"The body may have at most {limit} bytes; send less at once.")


def expected(error: BaseException | None) -> Problem | None:
    """
    What to answer for an error that somebody foresaw; L{None} for any other.
    """
    match error:
        case Problem():
            return error
        case BadEnvelopes():
            return Problem(
                400,
                "Some envelopes cannot become events, so none was published; "
                "mend or leave out those named in errors, and publish again.",
                kind="bad-envelopes",
                title="Bad event envelopes",
                errors=[
                    {"index": index, "reason": reason}
                    for index, reason in sorted(error.reasons.items())
                ],
            )
        case Busy():
            return Problem(
                503,
                f"Not now: {error}. Try again after the time in Retry-After."
                if str(error)
                else "Not now. Try again after the time in Retry-After.",
                kind="busy",
                title="Busy",
                headers=((b"Retry-After", RETRY_BUSY),),
            )
        case Stopped():
            return Problem(
                503,
                "This instance is shutting down; ask another.",
                kind="stopped",
                title="Shutting down",
                headers=((b"Retry-After", RETRY_STOPPED),),
            )
    return None


def unexpected(failure: Failure, log: Logger) -> Problem:
    """
    What to answer for a fault of ours: nothing about it but the id under which it is
    logged here, once, in full.
    """
    problem = Problem(500, "The gateway failed to answer; its log tells why, under this instance.")
    log.failure("HTTP 500, {instance}", failure, instance=problem.instance)
    return problem
