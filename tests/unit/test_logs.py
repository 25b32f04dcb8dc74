"""
Tests for L{gatewayd.logs}.
"""

from __future__ import annotations

import io
import json
import os
from threading import Event as Flag
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from gatewayd import logs


class Pipe(io.StringIO):
    """
    A stream that nobody reads, until C{drained} is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drained = Flag()
        self.entered = Flag()

    def write(self, text: str) -> int:
        """
        Wait for a reader, as a full pipe does.
        """
        self.entered.set()
        self.drained.wait(10)
        return super().write(text)


class Terminal(io.StringIO):
    """
    A stream that is a terminal.
    """

    def isatty(self) -> bool:
        """
        It is.
        """
        return True


class FormTests(SynchronousTestCase):
    """
    Each reader gets the form that is of use to it.
    """

    def entries(
        self, stream: Any, environment: dict[str, str] | None = None, level: str = "info"
    ) -> tuple[Logger, list[str]]:
        """
        A logger, and the lines that come of what it is told.
        """
        lines: list[str] = []
        writer = logs.Writer(stream)
        self.patch(writer, "write", lines.append)
        observer = logs.observer(level, stream, environment or {}, writer)
        return Logger(namespace="gatewayd.source.amqp.RabbitSource", observer=observer), lines

    def test_terminal(self) -> None:
        """
        A person reads when, how grave, where and what; in colour, unless they want none.
        """
        for environment, colours in (({}, True), ({"NO_COLOR": "1"}, False)):
            log, lines = self.entries(Terminal(), environment)
            log.warn("no {what}", what="events")
            [line] = lines
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ")
            self.assertTrue(line.endswith("gatewayd.source.amqp: no events"))
            self.assertEqual("\x1b[" in line, colours)

    def test_json(self) -> None:
        """
        A program reads one object a line, with each plain field by its own name.
        """
        log, lines = self.entries(io.StringIO())
        log.error("lost {what}\n{more}", what="it", more=2, thing=object(), time="mine")
        entry = json.loads(lines[0])
        self.assertNotIn("\n", lines[0])
        self.assertEqual(entry["message"], "lost it\n2")
        self.assertEqual((entry["what"], entry["more"]), ("it", 2))
        self.assertEqual((entry["level"], entry["logger"]), ("error", "gatewayd.source.amqp"))
        self.assertNotIn("thing", entry)

    def test_traceback(self) -> None:
        """
        A failure comes with its traceback, in whatever form.
        """
        for stream in (io.StringIO(), Terminal()):
            log, lines = self.entries(stream)
            try:
                raise ZeroDivisionError("made to order")
            except ZeroDivisionError:
                log.failure("failed")
            self.assertIn("ZeroDivisionError: made to order", lines[0])

    def test_journal(self) -> None:
        """
        The journal reads how grave each line is, where standard output is its own.
        """
        with open(os.devnull, "w") as stream:
            status = os.fstat(stream.fileno())
            journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            log, lines = self.entries(stream, journal)
            log.critical("one\ntwo")
            self.assertEqual(lines, ["<2>gatewayd.source.amqp: one\n<2>two"])
            log, lines = self.entries(stream, {"JOURNAL_STREAM": "1:1"})
            log.critical("one")
            self.assertTrue(lines[0].startswith("{"))

    def test_level(self) -> None:
        """
        What is less grave than wanted is not told.
        """
        for level, told in (("debug", 4), ("info", 3), ("warn", 2), ("error", 1)):
            log, lines = self.entries(io.StringIO(), level=level)
            for each in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
                log.emit(each, "x")
            self.assertEqual(len(lines), told, level)

    def test_twisted(self) -> None:
        """
        What Twisted tells of its own doings is left out, and what goes wrong in it is not.
        """
        _, lines = self.entries(io.StringIO())
        observer = logs.Observer(lines.append, logs.structured)
        log = Logger(namespace="log_legacy", observer=observer)
        log.info("Starting factory")
        self.assertEqual(lines, [])
        log.critical("Unhandled error")
        self.assertEqual(len(lines), 1)


class WriterTests(SynchronousTestCase):
    """
    Whoever logs does not wait for whoever reads.
    """

    def test_in_order(self) -> None:
        """
        Lines are written in order, the last before the end.
        """
        stream = io.StringIO()
        writer = logs.Writer(stream)
        for number in range(1000):
            writer.write(str(number))
        writer.close()
        self.assertEqual(stream.getvalue().split(), [str(number) for number in range(1000)])

    def test_nobody_reads(self) -> None:
        """
        With nobody to read, lines wait, so many of them, and of the rest the number is told.
        """
        pipe = Pipe()
        writer = logs.Writer(pipe)
        writer.write("first")
        self.assertTrue(pipe.entered.wait(10))
        for number in range(logs.MAX_WAITING + 7):
            writer.write(str(number))
        self.assertEqual(writer.dropped, 7)
        pipe.drained.set()
        writer.close()
        lines = pipe.getvalue().splitlines()
        self.assertEqual(lines[0], "first")
        self.assertEqual(lines[-2], str(logs.MAX_WAITING - 1))
        self.assertEqual(lines[-1], "7 log lines were lost: nobody read them")

    def test_nothing_written(self) -> None:
        """
        A writer that was never used ends at once.
        """
        logs.Writer(io.StringIO()).close()
