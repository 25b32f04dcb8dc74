"""
The WebSocket world. Autobahn has its home here.
"""
