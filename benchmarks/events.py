"""
The events that are published.

A number stands between two marks in each, which the load client fills in and looks for
(see C{load/load.h}).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Sequence

NUMBER, ROOM = "\x01", "\x02"
"""
What the load client replaces by a number of L{DIGITS} digits, and by a room's of L{ROOM_DIGITS}.
"""
DIGITS, ROOM_DIGITS = 12, 6
MARKED = f"@{NUMBER}@"
NAME = "message.create"

_WORDS = Path(__file__).with_name("words.txt").read_text().split()


def filled(size: int, template: str) -> str:
    """
    C{template} with so many letters for its C{%s} that C{size} bytes come of it once its
    number and room are filled in.
    """
    bare = length(template.replace("%s", ""))
    return template.replace("%s", "x" * max(size - bare, 0))


def length(text: str) -> int:
    """
    How many bytes C{text} has when its numbers and rooms are filled in.
    """
    extra = text.count(NUMBER) * (DIGITS - 1) + text.count(ROOM) * (ROOM_DIGITS - 1)
    return len(text.encode()) + extra


def plain_data(size: int) -> str:
    """
    The data of an event, of C{size} bytes.
    """
    return filled(size, f'{{"id":"{MARKED}","channelId":"c1","content":"%s"}}')


def realistic_data(count: int) -> Sequence[str]:
    """
    The data of C{count} messages as people write them, no two alike, the same ones each time.
    """
    chance = random.Random(3005)
    return [_message(chance) for _ in range(count)]


def _message(chance: random.Random) -> str:
    def snowflake() -> str:
        return str(chance.randrange(10**17, 10**18))

    people = [snowflake() for _ in range(chance.choice((1, 1, 1, 2)))]
    message: dict[str, Any] = {
        "id": MARKED,
        "channelId": snowflake(),
        "author": {
            "id": snowflake(),
            "username": "".join(chance.choices("abcdefghiklmnoprstuvy", k=chance.randrange(4, 12))),
            "avatar": f"{chance.getrandbits(128):032x}",
            "bot": False,
        },
        "content": " ".join(chance.choices(_WORDS, k=int(chance.lognormvariate(2.3, 0.8)) + 1)),
        "timestamp": f"2025-11-{chance.randrange(1, 29):02}T{chance.randrange(24):02}:"
        f"{chance.randrange(60):02}:{chance.randrange(60):02}.{chance.randrange(1000):03}Z",
        "editedTimestamp": None,
        "mentions": people[1:],
        "mentionEveryone": False,
        "attachments": [],
        "embeds": [],
        "reactions": [],
        "pinned": False,
        "type": 0,
    }
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return text.replace(json.dumps(MARKED), f'"{MARKED}"')
