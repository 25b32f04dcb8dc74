"""
What a refused upgrade says (RFC 9110, section 10.2.3).
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from gatewayd.client.errors import ClientError


def refused(status: int, retry_after: str | None, wall: float) -> ClientError:
    """
    The gateway, or a proxy before it, answered with something else than an upgrade.

    @param retry_after: the header of that name.
    @param wall: seconds since the epoch.
    """
    return ClientError(
        "upgrade_refused",
        f"the upgrade was refused with HTTP status {status}",
        status=status,
        retry_after=None if retry_after is None else seconds(retry_after, wall),
    )


def seconds(header: str, wall: float) -> float | None:
    """
    The C{Retry-After} header: a number of seconds, or a date.
    """
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, OverflowError):
        return None
