"""
The way of an event through RabbitMQ and Redis: how long it takes, how many take it in a second,
and what each of its legs costs.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Callable, Iterator, TypeVar

import hiredis
import msgspec
import pika

from benchmarks.accounts import account
from benchmarks.builds import HERE
from benchmarks.crowd import EVENT_BYTES, PATIENCE, Order, Seen, body
from benchmarks.dialects import GATEWAYD
from benchmarks.events import NAME
from benchmarks.fanout import say
from benchmarks.legs import Cost, Task
from benchmarks.report import machine
from benchmarks.roster import OURS, Peer, Site
from benchmarks.server import Failed, Server
from benchmarks.tables import figure, table
from benchmarks.tokens import SECRET
from gatewayd.config.urls import redis_server

RABBITMQ = "amqp://guest:guest@127.0.0.1:5672/"
REDIS = "redis://127.0.0.1:6379/0"

CLIENTS = 250
"""
On each of two instances.
"""
RATE = 200
SECONDS = 20
BURST = 20_000
HISTORY = 5000
"""
Events that an instance remembers. More than that are published in every measurement, so that for
each that comes one goes, as it is in a daemon that has run for a while.
"""
BUSY, QUIET = (20_000, 8000), (9000, 6000)
"""
Events of a leg's measurement, and how many of them before the counting begins.
"""
QUIET_RATE = 1000
T = TypeVar("T")


class Latency(msgspec.Struct, frozen=True):
    """
    Two instances, some hundred clients, a steady rate.

    @ivar p50: milliseconds from publishing to a client's having it, over all deliveries.
    @ivar cpu_us: of both instances, for each delivery.
    @ivar client_share: of one core, what the clients used, which share the machine.
    """

    clients: int
    rate: int
    deliveries: int
    p50: float
    p99: float
    most: float
    cpu_us: float
    client_share: float


class Leg(msgspec.Struct, frozen=True):
    """
    One leg, all rounds of it.

    @ivar busy: as many events at a time as the daemon takes together.
    @ivar quiet: one at a time.
    """

    name: str
    busy: list[Cost] = msgspec.field(default_factory=list)
    quiet: list[Cost] = msgspec.field(default_factory=list)


class Pipeline(msgspec.Struct):
    """
    All of it.

    @ivar through: the whole way to one client of one instance, and the CPU of that instance.
    """

    latency: Latency | None
    through: list[Cost]
    legs: list[Leg]
    failures: list[str]


class Upstreams:
    """
    RabbitMQ and Redis, with names of this run's own, which are gone at the end of a C{with}.
    """

    def __init__(self, rabbitmq: str, redis: str) -> None:
        self.rabbitmq, self.redis = rabbitmq, redis
        self.exchange = self.queue = self.channel = f"benchmark_{secrets.token_hex(4)}"
        self.dead_letter_exchange = f"{self.exchange}.dead"

    def __enter__(self) -> Upstreams:
        parameters = pika.URLParameters(self.rabbitmq)
        # We do not listen while somebody else is measured.
        parameters.heartbeat = 0
        try:
            self._connection = pika.BlockingConnection(parameters)
            self._ask_redis("PING")
        except (OSError, pika.exceptions.AMQPError, hiredis.HiredisError) as error:
            raise Failed(
                f"the pipeline needs RabbitMQ and Redis: {str(error) or repr(error)}. Where they "
                "are is told by --rabbitmq and --redis"
            ) from None
        self._channel = self._connection.channel()
        # As the gateway declares them, so that nothing is lost before it does.
        self._channel.exchange_declare(self.exchange, "topic", durable=True)
        single = {"x-single-active-consumer": True}
        self._channel.queue_declare(self.queue, durable=True, arguments=single)
        self._channel.queue_bind(self.queue, self.exchange, "#")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.queue, self.dead_letter_exchange):
            self._channel.queue_delete(name)
        for name in (self.exchange, self.dead_letter_exchange):
            self._channel.exchange_delete(name)
        self._connection.close()
        self.forget()

    def forget(self) -> None:
        """
        Delete what there is in Redis.
        """
        cursor = b"0"
        while True:
            cursor, keys = self._ask_redis(
                "SCAN", cursor, "MATCH", f"{self.channel}*", "COUNT", "1000"
            )
            if keys:
                self._ask_redis("UNLINK", *keys)
            if cursor == b"0":
                return

    def clear(self) -> None:
        """
        Forget what is left of the last measurement.
        """
        self._channel.queue_purge(self.queue)
        self.forget()

    def _ask_redis(self, *command: str | bytes) -> Any:
        server = redis_server(self.redis)
        if server.tls:
            raise Failed("the pipeline is not measured over TLS")
        commands: list[tuple[Any, ...]] = [("SELECT", str(server.database)), command]
        if server.password:
            user = [server.username] if server.username else []
            commands.insert(0, ("AUTH", *user, server.password))
        reader = hiredis.Reader()
        with socket.create_connection((server.host, server.port), PATIENCE) as connection:
            for each in commands:
                connection.sendall(hiredis.pack_command(each))
                while (answer := reader.gets()) is False:
                    reader.feed(connection.recv(1 << 16))
                if isinstance(answer, hiredis.ReplyError):
                    raise answer
        return answer

    def publish(self, number: int, *, named: bool = False) -> None:
        """
        Publish one event, as a microservice does.

        @param named: give it a C{message_id}.
        """
        name = f"{self.exchange}-{time.monotonic_ns()}" if named else None
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, message_id=name
        )
        self._channel.basic_publish(
            self.exchange, NAME, body(number, time.monotonic_ns()), properties
        )

    def fill(self, events: int, *, named: bool = False) -> None:
        """
        Publish as fast as it goes.
        """
        for number in range(events):
            self.publish(number, named=named)
        # What has been said comes before what is asked.
        self._channel.queue_declare(self.queue, passive=True)

    def pace(self, events: int, rate: float, *, named: bool = False) -> None:
        """
        Publish C{rate} events in a second, whatever becomes of them.
        """
        began = time.monotonic()
        for number in range(events):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            self.publish(number, named=named)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """
        Be the queue's active consumer, and take nothing, until what this gives is called. Then
        the gateway is, and finds all that was published meanwhile.
        """
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(self.queue, lambda *_: None)
        yield channel.close

    def task(self, events: int, warm: int, config: Path, **more: Any) -> Task:
        """
        What a leg is told.
        """
        return Task(
            self.rabbitmq,
            self.redis,
            self.exchange,
            self.queue,
            self.dead_letter_exchange,
            self.channel,
            str(config),
            events,
            warm,
            **more,
        )

    def peer(self, name: str) -> Peer:
        """
        An instance of the gateway.
        """

        def command(site: Site) -> list[str]:
            config = configured(site.folder, site.web, site.control, name, self)
            twistd = str(Path(sys.executable).with_name("twistd"))
            return [twistd, "--nodaemon", "--pidfile=", "gateway", "--config", str(config)]

        return Peer(name, command, dialect=GATEWAYD, environment=OURS.environment)


def configured(
    folder: Path, web: int, control: int, name: str, upstreams: Upstreams | None
) -> Path:
    """
    Write a configuration.

    @param upstreams: L{None} for a gateway that is alone.
    """
    sections: dict[str, dict[str, object]] = {
        "gateway": {
            "listen": f"tcp:{web}:interface=127.0.0.1:backlog=1024",
            "instance": name,
            "drain_time": "0 s",
        },
        "http": {"listen": f"tcp:{control}:interface=127.0.0.1"},
        "auth": {"secret": SECRET},
        "history": {"max_events": HISTORY},
    }
    if upstreams is not None:
        sections["rabbitmq"] = {
            "url": upstreams.rabbitmq,
            "exchange": upstreams.exchange,
            "queue": upstreams.queue,
            "dead_letter_exchange": upstreams.dead_letter_exchange,
        }
        sections["redis"] = {"url": upstreams.redis, "channel": upstreams.channel}
    path = folder / "gateway.ini"
    path.write_text(
        "".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for section, keys in sections.items()
        )
    )
    return path


# ------------------------------------------------------------------------------------ measures


class Child:
    """
    A process that is ready at some time, and has an answer at the end.
    """

    def __init__(self, module: str, *words: str) -> None:
        self._words = [sys.executable, "-m", f"benchmarks.{module}", *words]

    def __enter__(self) -> Child:
        self._process = subprocess.Popen(
            self._words, cwd=HERE.parent, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        """
        Wait until it is.
        """
        self._line()

    def answer(self, kind: type[T]) -> T:
        """
        Wait for its answer.
        """
        return msgspec.json.decode(self._line(), type=kind)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{' '.join(self._words[2:4])} ended with {self._process.wait()}")
        return line


def _crowd(gateways: list[tuple[int, int]], events: int) -> Child:
    return Child("crowd", msgspec.json.encode(Order(gateways, events)).decode())


def _leg(name: str, task: Task) -> Child:
    return Child("legs", name, msgspec.json.encode(task).decode())


def latency(upstreams: Upstreams) -> Latency:
    """
    From publishing to every client of two instances.

    @raise Failed: it did not come to every client, once and in order.
    """
    events = RATE * SECONDS
    with Server(upstreams.peer("one")) as one, Server(upstreams.peer("two")) as two:
        sites = [(each.site.web, CLIENTS) for each in (one, two)]
        with _crowd(sites, events) as crowd:
            crowd.ready()
            before = account(one.pids + two.pids)
            upstreams.pace(events, RATE)
            seen = _sound(crowd.answer(Seen), one)
            used = account(one.pids + two.pids).since(before)
    return Latency(
        2 * CLIENTS,
        RATE,
        seen.deliveries,
        seen.p50,
        seen.p99,
        seen.most,
        used.cpu / seen.deliveries * 1e6,
        seen.cpu / SECONDS,
    )


def through(upstreams: Upstreams) -> Cost:
    """
    All the way from a queue that is full to one client.

    @raise Failed: it did not come, once and in order.
    """
    with (
        upstreams.held() as release,
        Server(upstreams.peer("one")) as server,
        _crowd([(server.site.web, 1)], BURST) as crowd,
    ):
        crowd.ready()
        upstreams.fill(BURST)
        server.settle()
        before, began = server.account(), time.monotonic_ns()
        release()
        seen = _sound(crowd.answer(Seen), server)
        used = server.account().since(before)
    return Cost(used.cpu / BURST * 1e6, BURST / (seen.ended - began) * 1e9)


def _sound(seen: Seen, server: Server) -> Seen:
    if seen.wrong:
        raise Failed(f"{seen.wrong}; its log ends:\n{server.log()}")
    return seen


class Legs:
    """
    The legs, measured in turn.
    """

    def __init__(self, upstreams: Upstreams, folder: Path, profile: bool) -> None:
        self._upstreams = upstreams
        self._folder = folder
        self._profile = profile
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.found: dict[str, Leg] = {}

    def round(self) -> None:
        """
        Each once, busy and quiet.
        """
        for busy in (True, False):
            for named in (False, True):
                self._consume(busy, named)
                # What is heard is the same either way.
                self._between("overhear" if named else "receive", busy, named)
            for clients in (1, 0):
                self._deliver(busy, clients)

    def _task(self, busy: bool, upstreams: Upstreams | None = None, **more: Any) -> Task:
        events, warm = BUSY if busy else QUIET
        config = configured(self._folder, self._port, 0, "leg", upstreams)
        more |= {"together": busy, "profile": self._profile}
        return self._upstreams.task(events, warm, config, **more)

    def _took(self, name: str, busy: bool, cost: Cost) -> None:
        leg = self.found.setdefault(name, Leg(name))
        (leg.busy if busy else leg.quiet).append(cost)
        way = "busy" if busy else "one at a time"
        say(f"  {name:<28} {way:<14} {cost.cpu_us:7.2f} us")
        if cost.profile:
            say(f"     own    total   calls\n{cost.profile}")

    def _consume(self, busy: bool, named: bool) -> None:
        upstreams, task = self._upstreams, self._task(busy, named=named)
        upstreams.clear()
        if busy:
            upstreams.fill(task.events, named=named)
        with _leg("consume", task) as leg:
            leg.ready()
            if not busy:
                upstreams.pace(task.events, QUIET_RATE, named=named)
            self._took(_named("consume", named), busy, leg.answer(Cost))

    def _between(self, name: str, busy: bool, named: bool) -> None:
        task = self._task(busy, self._upstreams, named=named)
        self._upstreams.clear()
        with _leg(name, task) as hearing:
            hearing.ready()
            with _leg("publish", task) as publishing:
                heard = hearing.answer(Cost)
                self._took(_named("publish", named), busy, publishing.answer(Cost))
        self._took("receive, for nobody" if name == "overhear" else name, busy, heard)

    def _deliver(self, busy: bool, clients: int) -> None:
        task = self._task(busy, clients=clients)
        with _leg("deliver", task) as leg:
            leg.ready()
            # None connects, has nothing to wait for, and ends.
            with _crowd([(self._port, clients)], task.events) as crowd:
                crowd.ready()
                cost = leg.answer(Cost)
                seen = crowd.answer(Seen)
        if seen.wrong:
            raise Failed(seen.wrong)
        self._took("deliver, one client" if clients else "deliver, for nobody", busy, cost)


def _named(name: str, named: bool) -> str:
    return f"{name}, with message_id" if named else name


def measure(rabbitmq: str, redis: str, *, rounds: int, profile: bool) -> Pipeline:
    """
    All of it.

    @param profile: look into the legs, too. That makes them look slower than they are.
    @raise Failed: there is no RabbitMQ or no Redis.
    """
    found = Pipeline(None, [], [], [])
    with Upstreams(rabbitmq, redis) as upstreams, TemporaryDirectory() as folder:
        legs = Legs(upstreams, Path(folder), profile)
        try:
            if not profile:
                say("Latency")
                found.latency = latency(upstreams)
            for number in range(rounds):
                say(f"Round {number + 1} of {rounds}")
                if not profile:
                    upstreams.clear()
                    found.through.append(through(upstreams))
                legs.round()
        except Failed as failed:
            found.failures.append(str(failed))
            say(f"!! FAILED: {failed}")
        found.legs = list(legs.found.values())
    return found


# --------------------------------------------------------------------------------------- told


def told(found: Pipeline) -> str:
    """
    What was found, in tables.
    """
    parts = [f"{machine()}. Events of {EVENT_BYTES} bytes as they are published.\n"]
    latency = found.latency
    if latency is not None:
        parts += [
            f"Two instances, {latency.clients} clients of one guild, {latency.rate} events/s:\n",
            table(
                ["from publishing to a client", ""],
                [
                    ["p50, ms", figure(latency.p50)],
                    ["p99, ms", figure(latency.p99)],
                    ["most, ms", figure(latency.most)],
                    ["deliveries, each once and in order", f"{latency.deliveries:,}"],
                    ["CPU us a delivery, of both instances", figure(latency.cpu_us)],
                    ["of one core for the clients, %", figure(100 * latency.client_share)],
                ],
            ),
        ]
    if found.through:
        rates = [each.rate for each in found.through]
        costs = [each.cpu_us for each in found.through]
        parts += [
            "One instance, from a queue that is full to one client:\n",
            table(
                ["", "median", "from-to"],
                [["events/s", *_spread(rates)], ["CPU us an event", *_spread(costs)]],
            ),
        ]
    heads = ["CPU us an event", "busy", "from-to", "one at a time", "from-to"]
    rows = [
        [leg.name, *(cell for way in (leg.busy, leg.quiet) for cell in _spread(_cpu(way)))]
        for leg in found.legs
    ]
    return "\n".join([*parts, "Each leg by itself:\n", table(heads, rows)])


def _cpu(costs: list[Cost]) -> list[float]:
    return [each.cpu_us for each in costs]


def _spread(values: list[float]) -> tuple[str, str]:
    if not values:
        return "", ""
    return figure(median(values)), f"{figure(min(values))}-{figure(max(values))}"


def line(found: Pipeline) -> str:
    """
    What was found, in one line of JSON.
    """
    legs = [
        {"leg": leg.name, "busy": _cpu(leg.busy), "quiet": _cpu(leg.quiet)} for leg in found.legs
    ]
    whole = {
        "latency": found.latency,
        "through": [{"rate": each.rate, "cpu_us": each.cpu_us} for each in found.through],
        "legs": legs,
        "failures": found.failures,
    }
    return msgspec.json.encode(whole).decode()
