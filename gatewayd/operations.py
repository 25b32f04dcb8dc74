"""
What operators see and do: health, figures, publishing by hand, and the sessions of a user or a
guild wherever they are.

Everything here is read from what the other parts count or know anyway.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from gatewayd import closing
from gatewayd.census import Census
from gatewayd.connection import Connection
from gatewayd.delivery import Delivery
from gatewayd.errors import BadEnvelope, BadEnvelopes, Busy
from gatewayd.ingest import Ingest
from gatewayd.interfaces import IOperations, IReadiness, IRoster
from gatewayd.metrics import (
    CONTENT_TYPE,
    Metrics,
    by_label,
    events_by_name,
    quantiles,
    usage,
    value,
)
from gatewayd.model import Position
from gatewayd.survey import Answers, Survey

MAX_SESSIONS = 1000
"""
Sessions that one instance lists of a guild or user; beyond that they are only counted.
"""

BUSIEST = 10

Push = Callable[[Sequence[bytes]], list[Deferred[Position | None]]]


@implementer(IOperations)
@define(eq=False)
class Operations:
    """
    See the module.

    @ivar upstreams: what it depends on; the canary last, since where one of the others is away
        that is why it is missing.
    @ivar push: takes envelopes that are known to be good, all or none.
    @ivar leave: begins to shut down.
    @ivar draining: nobody is let in any more.
    """

    instance: str
    version: str
    clock: IReactorTime
    wall: Callable[[], float]
    upstreams: Sequence[IReadiness]
    roster: IRoster
    census: Census[Connection]
    delivery: Delivery
    ingest: Ingest
    metrics: Metrics
    push: Push
    leave: Callable[[], None]
    new_id: Callable[[], str]
    channel: Any
    serving: bool = False
    draining: bool = False
    survey: Survey = field(init=False)
    _started: float = field(init=False)
    _announcing: bool = False

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._started = self.clock.seconds()
        self.survey = Survey(
            self.instance, self.channel, self.roster, self.clock, self.new_id, self._answer
        )
        gauge = self.metrics.gauge
        gauge("connections", "Open WebSocket connections.", lambda: len(self.census))
        gauge("sessions", "Identified connections.", lambda: self.census.identified)
        gauge("users", "Different users identified.", lambda: self.census.users)
        gauge("guilds", "Guilds that somebody here hears.", lambda: self.delivery.registry.guilds)
        gauge(
            "subscriptions",
            "Pairs of a session and a guild.",
            lambda: self.delivery.registry.subscriptions,
        )
        gauge("history_events", "Events held for replay.", lambda: len(self.delivery.history))
        gauge("history_bytes", "Memory they take.", lambda: self.delivery.history.bytes)
        gauge("replaying", "Sessions being replayed to.", lambda: self.delivery.behind)
        gauge("ingest_queue", "Events taken and not yet published.", lambda: self.ingest.in_hand)
        for upstream in self.upstreams:
            gauge(
                f"{upstream.name}_up",
                f"Whether {upstream.name} works; 1 as well where none is configured.",
                partial(_up, upstream),
            )

    # ------------------------------------------------------------------ health

    def status(self) -> str:
        """
        C{ok}, C{degraded}, C{draining} or C{unavailable} (protocol, section 4).
        """
        if self.draining:
            return "draining"
        if not self.serving:
            return "unavailable"
        return "ok" if all(map(_up, self.upstreams)) else "degraded"

    def health(self) -> dict[str, Any]:
        """
        See L{IOperations.health}.
        """
        return {
            "status": self.status(),
            "uptime": round(self.clock.seconds() - self._started, 3),
            "instance": self.instance,
            "version": self.version,
            "connections": {
                "total": len(self.census),
                "identified": self.census.identified,
                "users": self.census.users,
                "guilds": self.delivery.registry.guilds,
            },
            **{upstream.name: upstream.status() for upstream in self.upstreams},
        }

    def ready(self) -> tuple[bool, str]:
        """
        See L{IOperations.ready}.
        """
        status = self.status()
        if status == "draining":
            return False, "this instance is shutting down"
        if status == "unavailable":
            return False, "this instance does not listen yet"
        for upstream in self.upstreams:
            if not _up(upstream):
                error = upstream.status().get("error", "not connected")
                return False, f"{upstream.name}: {error}"
        return True, ""

    # ----------------------------------------------------------------- figures

    def stats(self) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.stats}.
        """
        return Deferred.fromCoroutine(self._stats())

    async def _stats(self) -> dict[str, Any]:
        metrics, history = self.metrics, self.delivery.history
        p50, p90, p99 = quantiles(metrics.latency, (0.5, 0.9, 0.99))
        resumes = by_label(metrics.resumes)
        seconds, memory = usage(metrics)
        rows = {row["instance"]: row for row in await self.roster.rows()}
        rows[self.instance] = self._row()
        return {
            **self.health(),
            "events": events_by_name(metrics),
            "published": value(metrics.published),
            "rejected": value(metrics.rejected),
            "deliveries": value(metrics.deliveries),
            "bytes": value(metrics.delivered_bytes),
            "closes": by_label(metrics.closes),
            "denials": by_label(metrics.denials),
            "refusals": by_label(metrics.refusals),
            "errors": by_label(metrics.client_errors),
            "resumes": {"recovered": resumes.get("yes", 0), "not": resumes.get("no", 0)},
            "replayed": value(metrics.replayed),
            "slowConsumers": value(metrics.slow),
            "rateLimited": value(metrics.rate_limited),
            "latency": {"p50": p50, "p90": p90, "p99": p99},
            "log": {
                "head": str(history.head),
                "length": len(history),
                "span": round(history.span, 3),
                "bytes": history.bytes,
            },
            "subscriptions": self.delivery.registry.subscriptions,
            "busiest": [
                {"guildId": guild, "sessions": sessions}
                for guild, sessions in self.delivery.registry.busiest(BUSIEST)
            ],
            "process": {"cpuSeconds": round(seconds, 3), "memoryBytes": memory},
            "cluster": [rows[name] for name in sorted(rows)],
        }

    def exposition(self) -> tuple[bytes, str]:
        """
        See L{IOperations.exposition}.
        """
        return self.metrics.exposition(), CONTENT_TYPE

    def announce(self) -> None:
        """
        Show this instance's row to the others.
        """
        if self._announcing:
            # Redis is slow; the next one will be newer.
            return
        self._announcing = True
        announcing = self.roster.announce(self._row())

        def done(outcome: object) -> object:
            self._announcing = False
            return outcome

        announcing.addBoth(done)
        announcing.addErrback(lambda why: self._log.failure("Could not announce", why))

    def _row(self) -> dict[str, Any]:
        seconds, memory = usage(self.metrics)
        return {
            "instance": self.instance,
            "version": self.version,
            "status": self.status(),
            "uptime": round(self.clock.seconds() - self._started, 3),
            "connections": len(self.census),
            "identified": self.census.identified,
            "users": self.census.users,
            "guilds": self.delivery.registry.guilds,
            "events": sum(events_by_name(self.metrics).values()),
            "deliveries": value(self.metrics.deliveries),
            "cpuSeconds": round(seconds, 3),
            "memoryBytes": memory,
        }

    # -------------------------------------------------------------- publishing

    def publish(self, bodies: Sequence[bytes]) -> Deferred[list[Position | None]]:
        """
        See L{IOperations.publish}.
        """
        return Deferred.fromCoroutine(self._publish(bodies))

    async def _publish(self, bodies: Sequence[bytes]) -> list[Position | None]:
        reasons: dict[int, str] = {}
        for index, body in enumerate(bodies):
            try:
                self.ingest.check(body)
            except BadEnvelope as error:
                reasons[index] = error.reason
        if reasons:
            raise BadEnvelopes(reasons)
        if any(one.name == "redis" and not _up(one) for one in self.upstreams):
            raise Busy("Redis is away, and events would wait for it")
        return await gatherResults(self.push(bodies), consumeErrors=True).addErrback(_first)

    # ---------------------------------------------------------- administration

    def user(self, user: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.user}.
        """
        return Deferred.fromCoroutine(self._sessions("user", "userId", user))

    def guild(self, guild: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.guild}.
        """
        return Deferred.fromCoroutine(self._sessions("guild", "guildId", guild))

    async def _sessions(self, question: str, key: str, subject: str) -> dict[str, Any]:
        answers = await self.survey.ask(question, subject)
        found = answers.values.values()
        return {
            key: subject,
            "count": sum(one["count"] for one in found),
            "sessions": [session for one in found for session in one["sessions"]],
            **_asked(answers),
        }

    def disconnect(self, user: str) -> Deferred[dict[str, Any]]:
        """
        See L{IOperations.disconnect}.
        """
        return Deferred.fromCoroutine(self._disconnect(user))

    async def _disconnect(self, user: str) -> dict[str, Any]:
        answers = await self.survey.ask("disconnect", user)
        disconnected = sum(answers.values.values())
        self._log.info(
            "audit: user {user} disconnected by an operator, {count} sessions, {missing} "
            "instances did not answer",
            user=user,
            count=disconnected,
            missing=len(answers.missing),
        )
        return {"userId": user, "disconnected": disconnected, **_asked(answers)}

    def drain(self) -> None:
        """
        See L{IOperations.drain}.
        """
        self._log.info("audit: an operator asked this instance to drain")
        # Once the answer has been sent.
        self.clock.callLater(0, self.leave)

    def _answer(self, question: str, subject: str) -> Any:
        match question:
            case "user":
                return self._listed(self.census.of_user(subject))
            case "guild":
                return self._listed(list(self.delivery.registry.hearing(subject)))
            case "disconnect":
                sessions = self.census.of_user(subject)
                for session in sessions:
                    session.end(closing.DISCONNECTED)
                return len(sessions)
        raise LookupError(question)

    def _listed(self, sessions: Sequence[Any]) -> dict[str, Any]:
        return {
            "count": len(sessions),
            "sessions": [self._session(one) for one in sessions[:MAX_SESSIONS]],
        }

    def _session(self, session: Connection) -> dict[str, Any]:
        return {
            "sessionId": session.session_id,
            "userId": session.user,
            "instance": self.instance,
            "address": session.address,
            "client": session.client,
            "connectedSeconds": round(self.clock.seconds() - session.opened, 3),
            "expiresAt": int(session.principal.expires * 1000),
            "guildIds": sorted(session.guilds),
            "bufferedBytes": session.sink.backlog(),
        }


def _up(upstream: IReadiness) -> bool:
    return bool(upstream.status()["status"] != "connecting")


def _asked(answers: Answers) -> dict[str, Any]:
    return {
        "instances": list(answers.values),
        "missing": list(answers.missing),
        "complete": answers.complete,
    }


def _first(failure: Any) -> Any:
    # What failed is of interest, not that it was one of several.
    return failure.value.subFailure
