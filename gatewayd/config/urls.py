"""
The addresses of what the gateway depends on.

Nothing here repeats what it was given: these texts hold passwords, and so may the messages of
the standard library's own errors about them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Sequence
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import field, frozen
from pydantic import SecretStr

from gatewayd.config.values import WrongValue

_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f]*:[0-9a-f:.]*")
_ENCODE = "in a password, @ : / # ? and % are written as %40 %3A %2F %23 %3F and %25"


@frozen
class RedisServer:
    """
    What a C{redis://} or C{rediss://} address says.
    """

    host: str
    port: int
    tls: bool
    database: int
    username: str | None
    password: str | None = field(repr=False)


def redis_server(url: str) -> RedisServer:
    """
    @param url: C{redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]}
    @raise WrongValue: what is wrong with it.
    """
    parts = _split(url, ("redis", "rediss"))
    database = re.fullmatch(r"/?([0-9]{0,5})", parts.path)
    if not database:
        raise WrongValue("expected the number of a database behind the /, or nothing")
    username, password = _credentials(parts)
    return RedisServer(
        host=parts.hostname or "",
        port=parts.port or 6379,
        tls=parts.scheme == "rediss",
        database=int(database[1] or 0),
        username=username or None,
        password=password,
    )


def redis_url(text: str) -> SecretStr:
    """
    C{text} itself, if L{redis_server} can read it.
    """
    redis_server(text)
    return SecretStr(text)


def amqp_url(text: str) -> SecretStr:
    """
    C{text} itself, if it is C{amqp[s]://[USER:PASSWORD@]HOST[:PORT][/VHOST]}.
    """
    parts = _split(text, ("amqp", "amqps"))
    # pika drops what follows a second slash without a word.
    if parts.path.count("/") > 1:
        raise WrongValue("expected one virtual host; a / in its name is written %2F")
    _decoded(parts.path)
    username, password = _credentials(parts)
    if password and not username:
        raise WrongValue("expected a user before the password")
    return SecretStr(text)


def http_url(text: str) -> str:
    """
    C{text} itself, if it is the address of a web page, without a user or password.
    """
    parts = _split(text, ("http", "https"), query=True)
    if "@" in parts.netloc:
        raise WrongValue("expected no user or password in this address")
    return text


def confidential(url: str) -> bool:
    """
    Whether nobody between us and C{url} can read or change what is sent.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _split(url: str, schemes: Sequence[str], *, query: bool = False) -> SplitResult:
    # urlsplit would drop some of these silently.
    if re.search(r"[\x00-\x20\x7f]", url) or not url.isascii():
        raise WrongValue(f"expected an address in ASCII, without spaces; {_ENCODE}")
    if not url.lower().startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise WrongValue(f"expected an address that begins with {':// or '.join(schemes)}://")
    if "#" in url or ("?" in url and not query):
        raise WrongValue(f"expected no ? or # in the address; {_ENCODE}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise WrongValue(f"expected a host and a port from 1 to 65535; {_ENCODE}") from None
    if not _HOST.fullmatch(host or ""):
        raise WrongValue(f"expected the name of a host; {_ENCODE}")
    if port == 0 or parts.netloc.endswith(":"):
        raise WrongValue("expected a port from 1 to 65535 behind the colon")
    return parts


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    username, password = parts.username, parts.password
    if "@" in parts.netloc and not password:
        raise WrongValue("expected a user and a password before the @")
    return username and _decoded(username), password and _decoded(password)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except ValueError:
        raise WrongValue("expected UTF-8 behind its % signs") from None
