"""
A configuration in the making, with all its faults.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Iterable, Mapping, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatewayd.config import rules
from gatewayd.config.ini import Ini, Trouble, shown
from gatewayd.config.keys import KEYS, MODELS, Key, all_keys
from gatewayd.config.rules import Rule
from gatewayd.config.sections import Config
from gatewayd.config.values import WrongValue
from gatewayd.errors import ConfigError

MOST_FAULTS = 100
"""
More than these are counted, not shown: whoever passes a wrong file has millions.
"""


class Given(NamedTuple):
    """
    A key's text.

    @ivar where: the file or the variable that it is from.
    """

    text: str
    where: str


class Draft:
    """
    The configuration that a text and an environment make. Every fault is collected; in its
    place stands the key's default, so that looking for the others can go on.

    @ivar config: what was understood.
    @ivar faults: a line each.
    """

    def __init__(self, text: str, source: str, environment: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self._source = source
        self._faulty: set[str] = set()
        self._given: dict[str, dict[str, Given]] = {section: {} for section in KEYS}
        self._take_file(Ini(text))
        self._take_environment(environment)
        sections = {section: self._section(section, model) for section, model in MODELS.items()}
        self.config = Config.model_validate(sections)
        self._apply(rules.ALWAYS)

    def require_key(self) -> None:
        """
        Have it a fault if there is nothing to check tokens with.
        """
        if not rules.keyless(self.config):
            self._apply(rules.TO_START)
        elif self._faulty.isdisjoint(rules.KEY_SOURCES):
            self.faults.append(f"{self._source}: {rules.NO_KEY}")

    def by_variable(self, section: str, name: str) -> bool:
        """
        Whether a key is given in the environment.
        """
        given = self._given[section].get(name)
        return given is not None and given.where == KEYS[section][name].variable

    def fill(self, section: str, field: str, value: object) -> None:
        """
        Set what the text could not: it has been checked.
        """
        part: BaseModel = getattr(self.config, section)
        filled = part.model_copy(update={field: value})
        self.config = self.config.model_copy(update={section: filled})

    def fault(self, section: str, name: str, reason: str, value: str | None = None) -> None:
        """
        Note a fault of a key.

        @param value: what to show; by default what was given, if that may be shown.
        """
        key = KEYS[section][name]
        given = self._given[section].get(name, Given(key.default, self._source))
        text = "" if key.hidden else f" = {_quoted(given.text if value is None else value)}"
        self.faults.append(f"{given.where}: [{section}] {name}{text}: {reason}")
        self._faulty.add(f"{section}.{name}")

    def result(self) -> Config:
        """
        @raise ConfigError: it has faults.
        """
        more = len(self.faults) - MOST_FAULTS
        if more > 0:
            raise ConfigError(
                [*self.faults[:MOST_FAULTS], f"{self._source}: and {more} faults more"]
            )
        if self.faults:
            raise ConfigError(self.faults)
        return self.config

    def _take_file(self, ini: Ini) -> None:
        troubles = [*ini.troubles]
        for section, (values, line) in ini.sections.items():
            if section not in KEYS:
                hint = _did_you_mean(section, KEYS, "[{}]")
                troubles.append(Trouble(line, f"{shown(section, '[{}]: ')}unknown section{hint}"))
                continue
            for name, value in values.items():
                if name in KEYS[section]:
                    self._given[section][name] = Given(value.text, self._source)
                else:
                    hint = _elsewhere(name) or _did_you_mean(name, KEYS[section], "{}")
                    reason = f"[{section}] {shown(name, '{}: ')}unknown key{hint}"
                    troubles.append(Trouble(value.line, reason))
        self.faults += [f"{self._source}:{line}: {reason}" for line, reason in sorted(troubles)]

    def _take_environment(self, environment: Mapping[str, str]) -> None:
        for key in all_keys():
            if key.variable in environment:
                text = environment[key.variable]
                self._given[key.section][key.name] = Given(text, key.variable)

    def _section(self, section: str, model: type[BaseModel]) -> BaseModel:
        texts = {name: given.text for name, given in self._given[section].items()}
        try:
            return model.model_validate(texts)
        except ValidationError as error:
            faulty = error.errors(include_url=False)
        for details in faulty:
            name = str(details["loc"][0])
            texts.pop(name, None)
            self._fault_in(KEYS[section][name], details)
        return model.model_validate(texts)

    def _fault_in(self, key: Key, details: ErrorDetails) -> None:
        cause = details.get("ctx", {}).get("error")
        reason = str(cause) if isinstance(cause, WrongValue) else ""
        # One of several values is shown without the others.
        value = str(details["input"]) if len(details["loc"]) > 1 else None
        self.fault(key.section, key.name, reason or f"expected {key.expected}", value)

    def _apply(self, applied: Iterable[Rule]) -> None:
        for about, check in applied:
            reason = check(self.config) if self._faulty.isdisjoint(about) else None
            if reason is not None:
                section, name = about[0].split(".")
                self.fault(section, name, reason)


def _quoted(text: str) -> str:
    first, *further = text.split("\n", 1)
    if further or len(first) > 60:
        first = f"{first[:60]}..."
    # In ASCII: a fault is one line, and can be written to any log.
    return json.dumps(first)


def _did_you_mean(name: str, known: Iterable[str], template: str) -> str:
    close = get_close_matches(name[:60], list(known), n=1)
    return f"; did you mean {template.format(close[0])}?" if close else ""


def _elsewhere(name: str) -> str:
    homes = [section for section, keys in KEYS.items() if name in keys]
    return f"; did you mean {name} of [{homes[0]}]?" if homes else ""
