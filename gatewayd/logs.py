"""
What the daemon says of itself, as whoever reads it wants it: a person at a terminal, the
journal, or a program that reads JSON.

Writing is left to a thread. Whoever was to drain a pipe and does not would stop the reactor
otherwise, and with it all clients, for want of a log line.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from datetime import UTC, datetime
from threading import Condition, Thread
from typing import Any, Callable, Mapping, TextIO

import msgspec
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

MAX_WAITING = 10_000
"""
Lines that wait to be written; of those beyond it only the number is told.
"""

PARTING = 1.0
"""
Seconds for the last lines, at the end.
"""

_PRIORITY = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
"""
As the journal has them (sd-daemon(3)).
"""

_COLOURS = {LogLevel.warn: "33", LogLevel.error: "31", LogLevel.critical: "31;1"}
_NOISE = (
    *("twisted.internet.protocol.Factory", "twisted.internet.base", "log_legacy"),
    "twisted.scripts._twistd_unix.UnixAppLogger",
)
"""
Twisted tells at info level of every factory and port, and of its own version.
"""


class Writer:
    """
    Writes lines to a stream, without making anybody wait.

    @ivar dropped: lines that there was no room for.
    """

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._changed = Condition()
        self._closing = False
        self._thread: Thread | None = None

    def write(self, line: str) -> None:
        """
        Write C{line}, soon.
        """
        with self._changed:
            if self._thread is None:
                # Not before the first line: twistd forks, and threads do not survive that.
                self._thread = Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append(line)
            self._changed.notify()

    def close(self) -> None:
        """
        Write what waits, if that is to be done in a second.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(PARTING)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                lines, self._waiting = self._waiting, deque()
                dropped, self.dropped = self.dropped, 0
            try:
                self._stream.write("\n".join(lines) + "\n")
                if dropped:
                    self._stream.write(f"{dropped} log lines were lost: nobody read them\n")
                self._stream.flush()
            except (OSError, ValueError):
                # A full disk, a pipe without a reader: the gateway serves all the same.
                continue


def readable(event: LogEvent, colours: bool = False) -> str:
    """
    One entry for a person: when, how grave, from where, and what.
    """
    level = event["log_level"]
    when = datetime.fromtimestamp(event["log_time"]).astimezone()
    word = level.name.ljust(8)
    if colours and level in _COLOURS:
        word = f"\x1b[{_COLOURS[level]}m{word}\x1b[0m"
    where = _namespace(event)
    return f"{when:%Y-%m-%dT%H:%M:%S%z} {word} {where}: {_text(event)}"


def journalled(event: LogEvent) -> str:
    """
    One entry for the journal, which dates it itself.
    """
    prefix = f"<{_PRIORITY[event['log_level']]}>"
    lines = f"{_namespace(event)}: {_text(event)}".split("\n")
    # Each line is an entry to it, and has to say how grave it is.
    return "\n".join(prefix + line for line in lines)


def structured(event: LogEvent) -> str:
    """
    One entry as a line of JSON: the message, and each of its fields that is a plain value.
    """
    entry: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": event["log_level"].name,
        "logger": _namespace(event),
        "message": formatEvent(event),
    }
    failure = event.get("log_failure")
    if failure is not None:
        entry["traceback"] = failure.getTraceback()
    for name, value in _fields(event):
        entry.setdefault(name, value)
    return msgspec.json.encode(entry).decode()


def _fields(event: LogEvent) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in event.items()
        if not name.startswith("log_")
        and name not in ("message", "time", "system", "isError", "failure", "why", "format")
        and isinstance(value, str | int | float | bool)
    ]


def _text(event: LogEvent) -> str:
    text = formatEvent(event)
    failure = event.get("log_failure")
    return f"{text}\n{failure.getTraceback()}" if failure is not None else text


def _namespace(event: LogEvent) -> str:
    name = str(event.get("log_namespace", "-"))
    module, _, last = name.rpartition(".")
    # The class adds nothing to the name of its module.
    return module if module.startswith("gatewayd") and last[:1].isupper() else name


@implementer(ILogObserver)
class Observer:
    """
    Gives each entry its form, and to the writer.
    """

    def __init__(self, write: Callable[[str], None], form: Callable[[LogEvent], str]) -> None:
        self._write = write
        self._form = form

    def __call__(self, event: LogEvent) -> None:
        """
        See L{ILogObserver}.
        """
        # What Twisted's older way of logging brings may have neither.
        event.setdefault("log_level", LogLevel.info)
        if event["log_level"] is LogLevel.info and event.get("log_namespace") in _NOISE:
            return
        try:
            self._write(self._form(event))
        except Exception as error:
            self._write(f"a log entry could not be written: {type(error).__name__}")


def observer(
    level: str, stream: TextIO, environment: Mapping[str, str], writer: Writer
) -> ILogObserver:
    """
    What fits where we are: on a terminal, under systemd, or neither.

    @param level: the least grave that is told, as L{LogLevel} names it.
    """
    form: Callable[[LogEvent], str]
    if stream.isatty():
        colours = "NO_COLOR" not in environment
        form = lambda event: readable(event, colours)  # noqa: E731 - a def would say it twice
    elif _is_journal(stream, environment):
        form = journalled
    else:
        form = structured
    predicate = LogLevelFilterPredicate(LogLevel.lookupByName(level))
    made = Observer(writer.write, form)
    filtering: ILogObserver = FilteringLogObserver(made, [predicate])
    return filtering


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """
    Whether systemd has connected C{stream} to the journal (systemd.exec(5), C{JOURNAL_STREAM}).
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def stdout() -> TextIO:
    """
    Standard output as it was before twistd puts a logger in its place.
    """
    return sys.__stdout__ or sys.stdout
