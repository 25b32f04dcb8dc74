"""
A WebSocket gateway: events published to RabbitMQ reach the clients who may see them.

README.rst has the map of the house.
"""

__version__ = "0.1.0"
