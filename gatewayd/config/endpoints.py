"""
The descriptions of Twisted's server endpoints, checked without Twisted: what can be seen to
be wrong is reported with all other faults, before anything is opened.

Only the kinds below are known; any other may be some plugin's and is left to Twisted.
"""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple

from gatewayd.config.values import WrongValue


class _Signature(NamedTuple):
    """
    @ivar needed: the parameter without which there is no endpoint; the first by position.
    @ivar others: in the order in which they can be given by position.
    """

    needed: str
    others: tuple[str, ...]


_SIGNATURES = {
    "tcp": _Signature("port", ("interface", "backlog")),
    "tcp6": _Signature("port", ("backlog", "interface")),
    "ssl": _Signature(
        "port",
        (
            *("privateKey", "certKey", "sslmethod", "interface", "backlog"),
            *("extraCertChain", "dhParameters"),
        ),
    ),
    "unix": _Signature("address", ("mode", "backlog", "lockfile")),
    "systemd": _Signature("domain", ("index", "name")),
}

_VALUES = {
    "port": (re.compile(r"[0-9]{1,5}"), "a number from 0 to 65535"),
    "address": (re.compile(r".+", re.DOTALL), "a path"),
    "backlog": (re.compile(r"[0-9]{1,5}"), "a whole number"),
    "mode": (re.compile(r"[0-7]{1,4}"), "octal digits such as 660"),
    "lockfile": (re.compile(r"[01]"), "0 or 1"),
    "domain": (re.compile(r"INET6?|UNIX"), "INET, INET6 or UNIX"),
    "index": (re.compile(r"[0-9]{1,3}"), "a whole number"),
}


def endpoint(text: str) -> str:
    """
    C{text} itself, if it can describe a server endpoint.

    @raise WrongValue: what is wrong with it.
    """
    positional, named = _split(text)
    kind, *positional = positional or [""]
    # The one wrapper that Twisted brings; what is behind it is an endpoint again.
    while kind == "haproxy":
        kind, *positional = positional or [""]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*", kind) or ":" not in text:
        raise WrongValue("expected a server endpoint such as tcp:3005, beginning with its kind")
    signature = _SIGNATURES.get(kind)
    if signature is not None:
        _check(kind, signature, positional, named)
    return text


def with_backlog(text: str, backlog: int) -> str:
    """
    C{text} with room for so many connections that wait to be accepted, where it is of a kind
    that has one and says nothing of it: Twisted's 50 is passed at once when everybody
    reconnects.
    """
    positional, named = _split(text)
    while positional and positional[0] == "haproxy":
        positional.pop(0)
    signature = _SIGNATURES.get(positional[0]) if positional else None
    if signature is None or "backlog" not in signature.others or "backlog" in named:
        return text
    if len(positional) > 2 + signature.others.index("backlog"):
        return text
    return f"{text}:backlog={backlog}"


def _check(
    kind: str, signature: _Signature, positional: list[str], named: Mapping[str, str]
) -> None:
    known = (signature.needed, *signature.others)
    if len(positional) > len(known):
        raise WrongValue(f"expected fewer parts for {kind}; a colon in a value is written \\:")
    given = dict(zip(known, positional, strict=False))
    for parameter, value in named.items():
        if parameter not in known:
            raise WrongValue(f"expected only {', '.join(known)} for {kind}")
        if parameter in given:
            raise WrongValue(f"expected one {parameter}; a colon in a value is written \\:")
        given[parameter] = value
    if signature.needed not in given:
        raise WrongValue(f"expected a {signature.needed} behind {kind}:")
    for parameter, value in given.items():
        pattern, expected = _VALUES.get(parameter, (None, ""))
        if pattern is not None and not pattern.fullmatch(value):
            raise WrongValue(f"expected {expected} as its {parameter}")
    if int(given.get("port", 0)) > 65535:
        raise WrongValue(f"expected {_VALUES['port'][1]} as its port")
    if kind == "systemd" and ("index" in given) == ("name" in given):
        raise WrongValue("expected either index or name for systemd")


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """
    The parts between colons, those of the form C{name=value} apart; a backslash takes the
    meaning of the character after it (L{twisted.internet.endpoints.serverFromString}).
    """
    parts = [[""]]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if not character:
                raise WrongValue("expected something behind the last backslash")
            parts[-1][-1] += character
        elif character == ":":
            parts.append([""])
        elif character == "=" and len(parts[-1]) == 1:
            parts[-1].append("")
        else:
            parts[-1][-1] += character
    positional = [part[0] for part in parts if len(part) == 1]
    return positional, {part[0]: part[1] for part in parts if len(part) == 2}
