"""
The Autobahn TestSuite's cases (RFC 6455) against the gateway's own WebSocket protocol.
"""
