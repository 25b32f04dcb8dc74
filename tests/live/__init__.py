"""
Tests against the real thing: brokers, sockets, and a gateway in a process of its own.

They are plain pytest-twisted functions and run apart from all others, as C{pytest tests/live}.
"""
