"""
What a close code tells a client to do (protocol, "Close codes").
"""

from __future__ import annotations

from gatewayd.closing import TABLE, ComeBack

NORMAL = 1000
OURS = 4900
"""
With this a client leaves a connection that it does not trust any more. Not 1000 or 1001, which
say that all is well; and the gateway's codes are the gateway's.
"""

_TABLE = {row.code: row.come_back for row in TABLE}


def verdict(code: int) -> ComeBack:
    """
    Whether to come back, and how. A code that is not in the table is a network's, a proxy's or
    a newer gateway's: coming back, with waits that grow, is right for all of them.
    """
    return _TABLE.get(code, ComeBack.YES)
