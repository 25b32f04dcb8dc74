"""
Who may ask for what is not everybody's, and how much they may send.
"""

from __future__ import annotations

import hmac

from twisted.web.http_headers import Headers

from gatewayd.http.problem import Problem

MAX_EVENTS_BYTES = 1024 * 1024
MAX_BODY_BYTES = 4096
"""
For the calls that need no body at all.
"""


class Admission:
    """
    The bearer's token, and the bounds on what each call is sent.
    """

    def __init__(self, admin_token: str | None) -> None:
        """
        @param admin_token: what a bearer has to present; without one, nobody can.
        """
        self._token = admin_token.encode() if admin_token else None

    def authorise(self, headers: Headers) -> None:
        """
        @raise Problem: these headers do not carry the token.
        """
        if self._token is None:
            raise Problem(
                403,
                "This call needs a bearer token and none is configured: set admin_token or "
                "admin_token_file in [http] (or GATEWAY_HTTP_ADMIN_TOKEN) and restart.",
                kind="no-admin-token",
                title="No admin token configured",
            )
        given = headers.getRawHeaders(b"Authorization", [])
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            raise Problem(
                401,
                "Send the gateway's [http] admin_token as Authorization: Bearer TOKEN.",
                headers=((b"WWW-Authenticate", b"Bearer"),),
            )
        if not hmac.compare_digest(token.strip(), self._token):
            raise Problem(
                401,
                "The bearer token is not the gateway's [http] admin_token.",
                headers=((b"WWW-Authenticate", b'Bearer error="invalid_token"'),),
            )

    def holds(self, headers: Headers) -> bool:
        """
        Whether these headers carry the token.
        """
        try:
            self.authorise(headers)
        except Problem:
            return False
        return True

    def __call__(self, method: bytes, path: bytes, headers: Headers) -> int:
        """
        See L{gatewayd.http.site.Admit}. The routes ask for the token in any case; this is
        for not reading what they would turn away.
        """
        if path.startswith((b"/events", b"/drain", b"/users/", b"/guilds/")):
            self.authorise(headers)
        if method == b"POST" and path == b"/events":
            check_json(headers)
            return MAX_EVENTS_BYTES
        return MAX_BODY_BYTES


_UNSAID = b"application/x-www-form-urlencoded"
"""
What curl and Python's urllib say of a body of which their user has said nothing.
"""


def check_json(headers: Headers) -> None:
    """
    @raise Problem: these headers announce a body that is something else than JSON.
    """
    for given in headers.getRawHeaders(b"Content-Type", []):
        media = given.partition(b";")[0].strip().lower()
        if media not in (b"application/json", _UNSAID) and not media.endswith(b"+json"):
            raise Problem(
                415,
                "Events are published as application/json; "
                "send that as Content-Type, or none at all.",
                headers=((b"Accept", b"application/json"),),
            )
