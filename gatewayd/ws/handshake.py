"""
What is looked at in an opening handshake before Autobahn does, and what is answered when
it fails (RFC 6455, section 4.2).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

MAX_BYTES = 8192
"""
Request line and headers together. Autobahn has no limit here and searches the whole buffer
again for each chunk: 20 MB of headers cost it three seconds.
"""

TIMEOUT = 10.0
"""
Seconds from the first byte to the last of the request.
"""

_FORBIDDEN = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85]|\r(?!\n)|(?<!\r)\n|\r\n[^:\r]*[ \t]"
)
"""
Autobahn splits headers with C{str.splitlines}, which also splits at eight control characters
and at lone CR and LF, and it strips names, so that a folded line or C{Origin :} is a header to
it: one within another, past any proxy that filters by name.
"""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def has_smuggled_lines(request: bytes) -> bool:
    """
    Whether a request holds what some parser might take for a line's end and CRLF is not, or
    white space before or in a header's name (RFC 9112, section 5).
    """
    return _FORBIDDEN.search(request) is not None


def refusal(status: int, retry_after: int | None = None) -> bytes:
    """
    A whole HTTP response that says no.

    @param retry_after: seconds.
    """
    phrase = HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {phrase}", "Content-Length: 0", "Connection: close"]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    if status == HTTPStatus.UPGRADE_REQUIRED:
        lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Origins:
    """
    Whose pages may connect (RFC 6454).
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """
        @param allowed: C{*}; or origins such as C{https://app.example.com}, where a host may
            begin with C{*.}, and C{null}.
        """
        self._any = "*" in allowed
        self._null = "null" in allowed
        self._exact = {_normal(one) for one in allowed if "://" in one}
        self._under = [
            (scheme, host[1:], port) for scheme, host, port in self._exact if host.startswith("*.")
        ]

    def allow(self, origin: str | None) -> bool:
        """
        Whether a handshake with this C{Origin} header may go on. One without any is from no
        browser, and no page can make a browser leave it out.

        @param origin: L{None} or empty, as Autobahn has it, where there is none.
        """
        if self._any or not origin:
            return True
        if origin == "null":
            return self._null
        try:
            scheme, host, port = _normal(origin)
        except ValueError:
            return False
        return (scheme, host, port) in self._exact or any(
            scheme == s and port == p and host.endswith(h) for s, h, p in self._under
        )


def _normal(origin: str) -> tuple[str, str, int | None]:
    parts = urlsplit(origin.strip().lower())
    port = parts.port if parts.port is not None else _DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port
