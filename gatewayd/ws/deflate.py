"""
Compression (RFC 7692), once an event and not once a client.

That takes C{server_no_context_takeover}: each message is compressed by itself, and so the same
bytes are right for everybody who has negotiated it. A window of its own for each client would
compress better, and cost 90 KiB a client and a hundred microseconds a delivery; this costs
neither. Clients are asked for the same, so that nothing is kept between their messages.
"""

from __future__ import annotations

import zlib
from typing import Any

from autobahn.websocket.compress_deflate import PerMessageDeflate

RESPONSE = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"

WINDOW_BITS, LEVEL, MEMORY_LEVEL = 12, 6, 5
"""
Whoever inflates has a window of 15 bits, in which one of 12 fits. For an event that takes a fifth
of the time, most of which is the making of an empty window, and not a byte more room.
"""

SMALLEST = 128
"""
Bytes of payload from which on it is tried. Below, what is saved is less than the trouble of
undoing it; such a message is sent as it is, which every client has to take.
"""

_COMPRESSED_TEXT = 0xC1


def acceptable(offers: bytes) -> bool:
    """
    Whether one of the offers in C{Sec-WebSocket-Extensions} is for what we do (RFC 7692, section
    7.1).
    """
    return any(_acceptable(offer) for offer in offers.lower().split(b","))


def _acceptable(offer: bytes) -> bool:
    name, *parameters = (part.strip() for part in offer.split(b";"))
    if name != b"permessage-deflate":
        return False
    seen: set[bytes] = set()
    for parameter in parameters:
        key, given, value = parameter.partition(b"=")
        key, bits = key.strip(), value.strip().strip(b'"')
        if key in seen:
            return False
        seen.add(key)
        match key:
            case b"server_no_context_takeover" | b"client_no_context_takeover":
                if given:
                    return False
            case b"client_max_window_bits":
                if given and not _window(bits):
                    return False
            case b"server_max_window_bits":
                # It would have to be said in the response, and no browser asks for it.
                return False
            case _:
                return False
    return True


def _window(bits: bytes) -> bool:
    return bits.isdigit() and 8 <= int(bits) <= 15 and not bits.startswith(b"0")


def deflated(frame: bytes) -> bytes:
    """
    The frame of the same message, compressed; C{frame} itself where that is no shorter.

    @param frame: a whole unmasked text frame.
    """
    start = _HEADER.get(frame[1], 2)
    if len(frame) - start < SMALLEST:
        return frame
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
    payload = deflater.compress(frame[start:]) + deflater.flush(zlib.Z_SYNC_FLUSH)
    size = len(payload) - 4
    if size < 126:
        head = bytes((_COMPRESSED_TEXT, size))
    elif size < 65536:
        head = b"\xc1\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\xc1\x7f" + size.to_bytes(8, "big")
    made = head + payload[:-4]
    return made if len(made) < len(frame) else frame


_HEADER = {126: 4, 127: 10}


class Inflating(PerMessageDeflate):
    """
    Takes apart what a client has compressed, within Autobahn's bounds, and keeps nothing from
    one message to the next.
    """

    def __init__(self) -> None:
        super().__init__(True, True, True, 15, 15, MEMORY_LEVEL)

    def end_decompress_message(self) -> Any:
        """
        The message is whole.
        """
        try:
            super().end_decompress_message()
        finally:
            self._decompressor = None
