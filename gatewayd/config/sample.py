"""
The sample file, made of the keys themselves.
"""

from __future__ import annotations

import sys
from textwrap import wrap

from gatewayd.config.keys import KEYS, Key

_HEAD = """\
# Every key of the gateway, at its default. A value may go on in lines that are indented; an
# environment variable such as GATEWAY_HTTP_LISTEN wins over the key. Durations are written 30 s,
# 500 ms, 10 m or 1 h; sizes 65536, 64 KiB or 1 MB. Keep secrets out of here: the keys that end
# in _file name a file that holds one.
"""


def sample() -> str:
    """
    C{etc/gateway.ini}: every key, commented out, with its default and its description.
    (C{python -m gatewayd.config.sample} writes it.)
    """
    sections = [
        f"[{section}]\n\n" + "\n".join(_entry(key) for key in keys.values())
        for section, keys in KEYS.items()
    ]
    return "\n".join([_HEAD, *sections])


def _entry(key: Key) -> str:
    sentence = "\n".join(wrap(key.description, 96, initial_indent="# ", subsequent_indent="# "))
    value = key.default.replace("\n", "\n#    ")
    return f"{sentence}\n#{key.name} = {value}".rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(sample())
