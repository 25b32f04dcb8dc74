"""
What live tests start from: servers, a bad network between them, and gateways.

=================  ====================================================================
C{redis}           a Redis that the tests share, emptied before each; not to be broken
C{rabbitmq}        a RabbitMQ, likewise
C{new_redis}       C{await new_redis()}: one for this test alone, to be broken
C{new_rabbitmq}    C{await new_rabbitmq()}: likewise; it takes seconds to start
C{proxy}           C{proxy(server)}: a L{FaultProxy} in front of a broker, or of a port
C{publisher}       C{await publisher(rabbitmq)}: a L{Publisher}
C{consumer}        C{await consumer(rabbitmq, exchange=...)} or C{queue=}: a L{Consumer}
C{gateway}         C{await gateway(rabbitmq=..., redis=...)}: a L{Fleet}
=================  ====================================================================

pytest-twisted has asynchronous fixtures of function and module scope only; those of a session
are plain ones, which wait by L{settle}.
"""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Protocol,
    TypeVar,
)

import greenlet  # type: ignore[import-untyped]
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from tests.live.brokers import RabbitMQ, Redis
from tests.live.client import Client
from tests.live.faults import FaultProxy
from tests.live.fleet import Fleet, Located
from tests.live.publisher import Consumer, Publisher
from tests.live.server import Server
from tests.live.waiting import reactor, started, together

T = TypeVar("T")


class _Logged(Protocol):
    """
    Something with a log to show when a test fails.
    """

    name: Any

    def log(self, lines: int = 0) -> str: ...


_logs = pytest.StashKey[list[Callable[[], list[_Logged]]]]()
absent: set[str] = set()
"""
What was not tested, and what to do about it.
"""


def settle(work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
    """
    Run C{work} in the reactor, and wait for it.
    """
    done: Deferred[T] = Deferred()
    reactor.callLater(0, lambda: started(work()).chainDeferred(done))
    result: T = pytest_twisted.blockon(done)
    return result


def need(kind: type[Server]) -> None:
    """
    Skip the test if a server is not installed, or, where the environment says
    C{GATEWAYD_REQUIRE_BROKERS=1}, fail it.
    """
    missing = kind.missing()
    if missing is None:
        return
    reason = f"{kind.name} is not installed; run: {missing}"
    if os.environ.get("GATEWAYD_REQUIRE_BROKERS") == "1":
        pytest.fail(reason, pytrace=False)
    absent.add(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Say aloud what was not tested.
    """
    for reason in sorted(absent):
        terminalreporter.write_sep("!", f"NOT TESTED: {reason}", red=True, bold=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Show the logs of all that a failed test ran.
    """
    report = yield
    if report.failed:
        for lister in item.stash.get(_logs, []):
            for one in lister():
                lines = 40 if isinstance(one, Server) else 300
                report.sections.append((f"the log of {one.name} ends", one.log(lines)))
    return report


def _show(request: pytest.FixtureRequest, lister: Callable[[], list[Any]]) -> None:
    request.node.stash.setdefault(_logs, []).append(lister)


# ------------------------------------------------------------------------------ the test run


@pytest.fixture(scope="session", autouse=True)
def _interruptible(twisted_greenlet: object) -> Iterator[None]:
    """
    Make control-C end the test run. It would raise KeyboardInterrupt inside the reactor, which
    logs it like any exception, and runs on.
    """
    tests = greenlet.getcurrent()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if greenlet.getcurrent() is tests:
            raise KeyboardInterrupt
        reactor.callFromThread(tests.throw, KeyboardInterrupt)

    before = signal.signal(signal.SIGINT, interrupt)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_lost_errors() -> Iterator[None]:
    """
    Fail a test that leaves behind a Deferred whose failure nobody took, or that makes anything
    else on the reactor fail unseen; pytest-twisted lets both pass.
    """
    lost: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            lost.append(f"{formatEvent(event)}\n{failure.getTraceback()}")

    globalLogPublisher.addObserver(observe)
    try:
        yield
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not lost, "\n".join(lost)


# ----------------------------------------------------------------------------------- brokers


def _shared(server: Server) -> Iterator[Any]:
    try:
        settle(server.start)
        yield server
    finally:
        settle(server.close)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """
    The Redis of the whole test run, as the last test left it.
    """
    need(Redis)
    yield from _shared(Redis(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """
    The RabbitMQ of the whole test run, as the last test left it.
    """
    need(RabbitMQ)
    yield from _shared(RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


@pytest_twisted.async_fixture
async def redis(redis_server: Redis, request: pytest.FixtureRequest) -> Redis:
    """
    A Redis with nothing in it, shared by the tests that do not break it.
    """
    _show(request, lambda: [redis_server])
    await redis_server.start()
    await redis_server.clean()
    return redis_server


@pytest_twisted.async_fixture
async def rabbitmq(rabbitmq_server: RabbitMQ, request: pytest.FixtureRequest) -> RabbitMQ:
    """
    A RabbitMQ with nothing in it, shared by the tests that do not break it.
    """
    _show(request, lambda: [rabbitmq_server])
    await rabbitmq_server.start()
    await rabbitmq_server.clean()
    return rabbitmq_server


@pytest_twisted.async_yield_fixture
async def new_redis(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Awaitable[Redis]]]:
    """
    Starts a Redis for this test alone; its arguments are those of L{Redis} after the directory.
    """
    made: list[Redis] = []
    _show(request, lambda: made)

    async def new(*arguments: Any, **options: Any) -> Redis:
        need(Redis)
        made.append(Redis(tmp_path_factory.mktemp("redis"), *arguments, **options))
        await made[-1].start()
        return made[-1]

    yield new
    await together(*(server.close() for server in made))


@pytest_twisted.async_yield_fixture
async def new_rabbitmq(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[[], Awaitable[RabbitMQ]]]:
    """
    Starts a RabbitMQ for this test alone.
    """
    made: list[RabbitMQ] = []
    _show(request, lambda: made)

    async def new() -> RabbitMQ:
        need(RabbitMQ)
        made.append(RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))
        await made[-1].start()
        return made[-1]

    yield new
    await together(*(server.close() for server in made))


# --------------------------------------------------------------------------- what uses them

# Each fixture below names those above that its own things depend on, so that those end later.


@pytest_twisted.async_yield_fixture
async def proxy(new_redis: object, new_rabbitmq: object) -> AsyncIterator[Any]:
    """
    Puts a L{FaultProxy} in front of a broker or a port.
    """
    made: list[FaultProxy] = []

    def new(server: Located | int) -> FaultProxy:
        made.append(
            FaultProxy(server) if isinstance(server, int) else FaultProxy.before(server.url)
        )
        return made[-1]

    yield new
    await together(*(each.close() for each in made))


@pytest_twisted.async_yield_fixture
async def publisher(
    new_rabbitmq: object, proxy: object
) -> AsyncIterator[Callable[..., Awaitable[Publisher]]]:
    """
    Connects a L{Publisher}; its arguments are those of L{Publisher.open} after the URL.
    """
    made: list[Publisher] = []

    async def new(server: Located, *arguments: Any, **options: Any) -> Publisher:
        made.append(await Publisher.open(server.url, *arguments, **options))
        return made[-1]

    yield new
    await together(*(each.close() for each in made))


@pytest_twisted.async_yield_fixture
async def consumer(
    new_rabbitmq: object, proxy: object
) -> AsyncIterator[Callable[..., Awaitable[Consumer]]]:
    """
    Connects a L{Consumer}, of the C{queue} that it is given, or of an C{exchange}, for which it
    takes a C{routing_key} too.
    """
    made: list[Consumer] = []

    async def new(server: Located, queue: str | None = None, **options: Any) -> Consumer:
        if queue is not None:
            made.append(await Consumer.of_queue(server.url, queue, **options))
        else:
            made.append(await Consumer.of_exchange(server.url, **options))
        return made[-1]

    yield new
    await together(*(each.close() for each in made))


@pytest_twisted.async_yield_fixture
async def gateway(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    new_redis: object,
    new_rabbitmq: object,
    proxy: object,
) -> AsyncIterator[Fleet]:
    """
    Starts gateways, and ends them. A bug that one of them logged fails the test.
    """
    fleet = Fleet(tmp_path_factory.mktemp("gateway"))
    _show(request, lambda: fleet.daemons)
    yield fleet
    # A gateway that stops gives its clients time to go; these never would.
    await together(*(client.abort() for client in list(Client.open)))
    await fleet.end()
