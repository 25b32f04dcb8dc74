"""
What was published, and everything that may not become of it.

The events of one publisher have numbers, in the order in which it published them; each carries
its number in its data. As order is part of the promise, the numbers are the order of the log, and
what a client received can be judged by them alone, without a word of any gateway's.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterable

import msgspec
from attrs import define, field

from gatewayd.model import Audience, Position
from tests.chaos.account import Account
from tests.chaos.roll import Roll
from tests.chaos.words import Publication, Violation

MAX_TOLD = 40
"""
Violations that are written down; all are counted.
"""


@define(eq=False)
class Ledger:
    """
    @ivar accounts: the clients.
    @ivar counts: of violations.
    @ivar told: the first of them, in words.
    @ivar resyncs: resumes that could not be made whole, and said so.
    @ivar resumes: all of them.
    @ivar deliveries: events received, by all clients.
    """

    roll: Roll = field(factory=Roll)
    publications: list[Publication] = field(factory=list)
    accounts: list[Account] = field(factory=list)
    counts: Counter[Violation] = field(factory=Counter)
    told: list[str] = field(factory=list)
    resyncs: int = 0
    resumes: int = 0
    deliveries: int = 0
    repeats: int = 0

    @property
    def next(self) -> int:
        """
        The number of the event that will be published next: all that is published from now on
        has this one or a larger.
        """
        return len(self.publications)

    def publish(
        self,
        name: str,
        audience: Audience,
        data: dict[str, Any] | None = None,
        *,
        ephemeral: bool = False,
    ) -> Publication:
        """
        Enter an event that is about to be published.
        """
        number = self.next
        encoded = msgspec.json.encode({"n": number, **(data or {})})
        publication = Publication(number, name, audience, encoded, ephemeral)
        self.publications.append(publication)
        return publication

    def account(self, user: str, name: str | None = None) -> Account:
        """
        A client of C{user}, which has not connected yet.

        @param name: for the violations that concern it.
        """
        account = Account(self, user, name or f"{user}/{len(self.accounts)}")
        self.accounts.append(account)
        return account

    def complain(self, violation: Violation, what: str) -> None:
        """
        Enter a violation.
        """
        self.counts[violation] += 1
        if len(self.told) < MAX_TOLD:
            self.told.append(f"{violation.name}: {what}")

    def place(self, publication: Publication, position: Position) -> None:
        """
        Some client was told where in the log this is.
        """
        if publication.position is None:
            publication.position = position
        elif publication.position != position:
            self.complain(
                Violation.DOUBLE,
                f"event {publication.number} is in the log at {publication.position} "
                f"and at {position}",
            )

    def close(self) -> None:
        """
        Judge what could not be judged as it came. To be called once, when everything that is
        to come has.
        """
        before = Position(0, 0)
        for publication in self.publications:
            position = publication.position
            if position is None:
                continue
            if position <= before:
                self.complain(
                    Violation.REORDERING,
                    f"event {publication.number} is in the log at {position}, and one that was "
                    f"published earlier at {before}",
                )
            before = max(before, position)
        for account in self.accounts:
            account.close()

    def verdict(self) -> str:
        """
        All violations, in words; empty if there are none.
        """
        if not self.counts:
            return ""
        return "\n".join([f"violations: {self.figures(self.counts)}", *self.told])

    @staticmethod
    def figures(counts: Counter[Violation], kinds: Iterable[Violation] = Violation) -> str:
        """
        Each kind with its count.
        """
        return ", ".join(f"{counts[kind]} {kind.value}" for kind in kinds)
