"""
The configuration: one ini file, the environment over it, every fault told at once.

L{read} is for whoever starts something; L{parse} does the same from text alone, without
reading any file.
"""

from __future__ import annotations

from gatewayd.config.parsing import Defaults, parse, warnings
from gatewayd.config.reading import read
from gatewayd.config.sections import (
    Auth,
    Config,
    Events,
    Gateway,
    History,
    Http,
    Limits,
    RabbitMQ,
    Redis,
)
from gatewayd.config.urls import RedisServer

__all__ = [
    "Auth",
    "Config",
    "Defaults",
    "Events",
    "Gateway",
    "History",
    "Http",
    "Limits",
    "RabbitMQ",
    "Redis",
    "RedisServer",
    "parse",
    "read",
    "warnings",
]
