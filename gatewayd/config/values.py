"""
How the text of a key becomes its value.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Callable, TypeVar

from pydantic import SecretStr

T = TypeVar("T")


class WrongValue(ValueError):
    """
    A text that its key does not take. The message, if any, stands in place of the usual
    "expected ..." and never holds the text.
    """


SYMMETRIC = ("HS256", "HS384", "HS512")
"""
The JWT algorithms (RFC 7518, section 3.1) that check with the secret that signs.
"""

ASYMMETRIC = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES256K", "ES384", "ES512", "EdDSA"),
)
"""
Those that check with a public key (and RFC 8037, RFC 8812).
"""

_WHOLE = re.compile(r"[0-9]{1,15}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|)")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 366 * 24 * 3600.0
_SIZE = re.compile(r"([0-9]{1,15})\s*([KMG]i?B|kB|B|)")
_BYTES = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_BIGGEST = 1024**5
_YES = ("yes", "true", "on", "1")
_NO = ("no", "false", "off", "0")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def whole(text: str) -> int:
    """
    C{"12"}, in plain digits: pydantic would take C{"1_2"} and C{"12.0"} as well.
    """
    found = _WHOLE.fullmatch(text.strip())
    if not found:
        raise WrongValue
    return int(found[0])


def duration(text: str) -> float:
    """
    C{"30"}, C{"30 s"}, C{"500 ms"}, C{"10 m"} or C{"1 h"}, in seconds.
    """
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise WrongValue
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        raise WrongValue("expected at most 366 days (8784 h)")
    return seconds


def duration_text(seconds: float) -> str:
    """
    The opposite of L{duration}.
    """
    return f"{seconds:g} s"


def size(text: str) -> int:
    """
    C{"1048576"}, C{"64 MiB"} or C{"1 MB"}, in bytes. (pydantic's own ByteSize would take
    C{"1 MB, or so"} and C{"8 kbit"} too.)
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise WrongValue
    count = int(found[1]) * _BYTES[found[2]]
    if count > _BIGGEST:
        raise WrongValue("expected at most 1048576 GiB")
    return count


def size_text(count: int) -> str:
    """
    The opposite of L{size}.
    """
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]} {unit}"
    return str(count)


def switch(text: str) -> bool:
    """
    Yes or no, in any of the usual words.
    """
    word = text.strip().lower()
    if word not in _YES + _NO:
        raise WrongValue
    return word in _YES


def switch_text(value: bool) -> str:
    """
    The opposite of L{switch}.
    """
    return "yes" if value else "no"


def one_line(text: str) -> str:
    """
    One line that is not empty, without control characters and without quotes around it, which
    an ini file does not take away.
    """
    text = text.strip()
    if not text:
        raise WrongValue
    if _CONTROL.search(text):
        raise WrongValue("expected one line; a line indented deeper continues the one above")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise WrongValue("expected no quotes around it")
    return text


def name(text: str) -> str:
    """
    What RabbitMQ and Redis call something: at most 255 bytes (AMQP 0-9-1, C{shortstr}).
    """
    text = one_line(text)
    if len(text.encode()) > 255:
        raise WrongValue("expected at most 255 bytes")
    return text


def instance(text: str) -> str:
    """
    A label for metrics, logs and C{ready}; empty for the default.
    """
    if not re.fullmatch(r"[A-Za-z0-9._:@-]{0,100}", text):
        raise WrongValue
    return text


def key_pattern(text: str) -> str:
    """
    A Redis key with a place for the guild's id.
    """
    text = one_line(text)
    if "{guildId}" not in text:
        raise WrongValue
    return text


def secret(text: str) -> SecretStr:
    """
    A shared secret, as it is.
    """
    # An RSA public key taken for an HMAC secret lets everyone sign who knows the public key.
    if "-----BEGIN " in text:
        raise WrongValue("expected a shared secret, not a PEM key; that is for public_key_file")
    if not text or _CONTROL.search(text):
        raise WrongValue("expected a secret on one line")
    return SecretStr(text)


def token(text: str) -> SecretStr:
    """
    What can stand behind C{Authorization: Bearer} (RFC 6750, section 2.1).
    """
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise WrongValue("expected letters, digits and . _ ~ + / - on one line, with = at its end")
    return SecretStr(text)


def public_key(text: str) -> str:
    """
    A public key in PEM (RFC 7468, section 13), or RSA's older form of it.
    """
    if "PRIVATE KEY-----" in text:
        raise WrongValue("holds a private key; the gateway must only have the public one")
    if not re.search(r"-----BEGIN (RSA )?PUBLIC KEY-----\s", text):
        raise WrongValue("expected a file with a public key in PEM (BEGIN PUBLIC KEY)")
    return text


def algorithm(text: str) -> str:
    """
    One of L{SYMMETRIC} or L{ASYMMETRIC}.
    """
    if text not in SYMMETRIC and text not in ASYMMETRIC:
        raise WrongValue(f"expected any of {', '.join(SYMMETRIC + ASYMMETRIC)}")
    return text


def event_name(text: str) -> str:
    """
    Such as C{typing.start}.
    """
    if not re.fullmatch(r"[\w.:-]{1,64}", text):
        raise WrongValue("expected events' names such as typing.start, without a pattern")
    return text


def origin(text: str) -> str:
    """
    C{*}, C{null} or an origin as a browser sends it (RFC 6454, section 6.2): in lower case and
    without its scheme's default port, or it would never be found equal. Its host may begin with
    C{*.}, for all that are under a domain.
    """
    text = text.lower()
    if text in ("*", "null"):
        return text
    found = re.fullmatch(
        r"([a-z][a-z0-9+.-]*)://((?:\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", text
    )
    if not found:
        raise WrongValue("expected an origin such as https://example.com:8443, with no path, or *")
    default = {"http": ":80", "https": ":443"}.get(found[1])
    return text.removesuffix(found[3]) if found[3] and found[3] == default else text


def network(text: str) -> str:
    """
    An IP address or network, in its shortest form.
    """
    try:
        return str(ip_network(text))
    except ValueError:
        raise WrongValue("expected an address or network such as 10.0.0.0/8") from None


def optional(read: Callable[[str], T]) -> Callable[[str], T | None]:
    """
    C{read} for a key that may be empty, which means that it is not set.
    """
    return lambda text: read(text) if text.strip() else None


def written(value: object) -> str:
    """
    The text of what L{optional} read.
    """
    return "" if value is None else str(value)


def lines(text: str) -> tuple[str, ...]:
    """
    Each line once, without the empty ones.
    """
    return tuple(dict.fromkeys(line for line in map(str.strip, text.split("\n")) if line))


def words(text: str) -> tuple[str, ...]:
    """
    What stands between commas, spaces and line ends, each once.
    """
    return tuple(dict.fromkeys(word for word in re.split(r"[\s,]+", text) if word))
