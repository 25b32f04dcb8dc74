"""
The HTTP world: health, figures and metrics for everyone, events and administration for
the bearer of the admin token, and a page to look at (protocol, section 4).
"""

from gatewayd.http.resource import build

__all__ = ["build"]
