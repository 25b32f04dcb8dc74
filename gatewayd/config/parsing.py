"""
From text to configuration, without touching anything.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Iterator, Mapping, NamedTuple

from pydantic import SecretStr

from gatewayd.config.draft import Draft
from gatewayd.config.keys import KEYS, all_keys
from gatewayd.config.sections import Config
from gatewayd.config.urls import confidential
from gatewayd.config.values import SYMMETRIC


class Defaults(NamedTuple):
    """
    What only the machine knows.
    """

    host: str
    pid: int

    @property
    def instance(self) -> str:
        """
        Where C{[gateway] instance} is not given.
        """
        return f"{re.sub('[^A-Za-z0-9._-]', '-', self.host)[:64]}-{self.pid}"


def parse(text: str, source: str, environment: Mapping[str, str], defaults: Defaults) -> Config:
    """
    The configuration that an ini file and the environment make; it may lack a key to check
    tokens with, and what its C{_file} keys name has not been read (see
    L{gatewayd.config.read}).

    @param text: of the ini file.
    @param source: its name, for messages.
    @param environment: wins over the file, with C{GATEWAY_SECTION_KEY}.
    @raise ConfigError: all the faults there are.
    """
    return complete(Draft(text, source, environment).result(), defaults)


def complete(config: Config, defaults: Defaults) -> Config:
    """
    C{config} with what is not given in it.
    """
    if config.gateway.instance:
        return config
    gateway = config.gateway.model_copy(update={"instance": defaults.instance})
    return config.model_copy(update={"gateway": gateway})


def warnings(config: Config, environment: Mapping[str, str]) -> tuple[str, ...]:
    """
    What is no fault but probably a mistake, a sentence each, without any value.
    """
    return (*_misspelt(environment), *_weak(config))


def _misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """
    Variables that were meant to be ours. Not all that begin with GATEWAY_ are: Kubernetes
    makes several for each service, and one is likely to be called C{gateway}.
    """
    known = {key.variable for key in all_keys()}
    for variable in sorted(environment):
        if variable.startswith("GATEWAY_") and variable not in known:
            meant = _meant(variable.removeprefix("GATEWAY_").lower()[:60])
            if meant:
                yield f"{_printable(variable)} is no variable of ours; did you mean {meant}?"


def _meant(rest: str) -> str | None:
    for keys in KEYS.values():
        if rest in keys:
            return keys[rest].variable
    for section, keys in KEYS.items():
        if rest.startswith(f"{section}_"):
            close = get_close_matches(rest.removeprefix(f"{section}_"), keys, n=1, cutoff=0.65)
            return keys[close[0]].variable if close else None
    variables = {f"{key.section}_{key.name}": key.variable for key in all_keys()}
    close = get_close_matches(rest, variables, n=1, cutoff=0.85)
    return variables[close[0]] if close else None


def _weak(config: Config) -> Iterator[str]:
    auth = config.auth
    symmetric = [int(name[2:]) // 8 for name in auth.algorithms if name in SYMMETRIC]
    if symmetric and _shorter(auth.secret, max(symmetric)):
        yield (
            f"[auth] secret is shorter than the {max(symmetric)} bytes that its algorithm asks "
            "for (RFC 7518, section 3.2): tokens could be forged by trying secrets"
        )
    if _shorter(config.http.admin_token, 16):
        yield "[http] admin_token is shorter than 16 characters: it could be found by trying"
    if auth.jwks_url and not confidential(auth.jwks_url):
        yield "[auth] jwks_url is not https: whoever can change the answer can sign tokens"


def _shorter(secret: SecretStr | None, length: int) -> bool:
    return secret is not None and len(secret.get_secret_value().encode()) < length


def _printable(text: str) -> str:
    return text[:60].encode("ascii", "backslashreplace").decode()
