"""
What a client tells its application when something did not go well.
"""

from __future__ import annotations

from gatewayd.errors import GatewayError


class ClientError(GatewayError):
    """
    One thing that went wrong. Most are told by C{on("error")} while the client goes on by
    itself; C{run} raises the one that ended it.

    @ivar code: a word. The gateway's own, such as C{forbidden}; or the client's:
        C{unreachable}, C{upgrade_refused}, C{connection_lost}, C{connect_timeout},
        C{ready_timeout}, C{identify_timeout}, C{silent}, C{token_failed}, C{token_timeout},
        C{token_refused}, C{unauthorized}, C{bad_message}, C{closed}, C{subscribed},
        C{unsubscribed}, C{listener_failed}, C{store_failed}.
    @ivar message: one sentence for a person.
    @ivar event: the command that it answers.
    @ivar guild_id: the guild that it is about.
    @ivar close_code: of the connection that ended, where that is what happened.
    @ivar status: of the HTTP answer, where the gateway did not upgrade the connection.
    @ivar retry_after: seconds that the gateway asks to wait.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        event: str | None = None,
        guild_id: str | None = None,
        close_code: int | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.event = event
        self.guild_id = guild_id
        self.close_code = close_code
        self.status = status
        self.retry_after = retry_after


class Unauthorized(Exception):
    """
    Raised by an application's token function: there is no token, and there will be none. The
    user has logged out. The client closes.
    """
