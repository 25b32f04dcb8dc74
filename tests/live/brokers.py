"""
RabbitMQ and Redis servers that belong to the tests: on ports of their own, in directories of
their own, there to be stopped, killed, frozen and wiped.

They run as whoever runs the tests, and any number of them runs at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import txredisapi
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.live.processes import Child, free_port, run
from tests.live.publisher import Connection
from tests.live.server import Server, ServerFailed, find
from tests.live.waiting import eventually, reactor, together, within


class Redis(Server):
    """
    A C{redis-server}. Unless C{persistent} it forgets everything when it ends.
    """

    name = "redis-server"
    boot = 20.0

    def __init__(self, directory: Path, persistent: bool = False, *options: str) -> None:
        """
        @param persistent: every write is on disk before it is answered.
        @param options: more for its command line, such as C{"--maxmemory", "5mb"}.
        """
        super().__init__(directory)
        self.persistent = persistent
        self.options = options
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    def missing(cls) -> str | None:
        """
        It is one program.
        """
        return None if find("redis-server") else "apt-get install redis-server"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        program = find("redis-server")
        assert program is not None
        arguments = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        arguments += ["--dir", str(self.data), "--daemonize", "no", "--save", ""]
        arguments += ["--appendonly", "yes" if self.persistent else "no", "--appendfsync", "always"]
        return [*arguments, *self.options], {"PATH": os.environ.get("PATH", os.defpath)}

    async def _answers(self) -> bool:
        try:
            return bool(await self.command("PING", timeout=2) == b"PONG")
        except Exception:
            # Not listening yet, or still loading its data.
            return False

    async def command(self, *words: str | int, timeout: float = 5.0) -> Any:
        """
        Run one command on a connection of its own.

        @return: the reply, its strings as C{bytes}.
        @raise Late: there was none in C{timeout} seconds.
        """
        client = await within(
            timeout,
            f"a connection to Redis on port {self.port}",
            txredisapi.Connection(
                "127.0.0.1",
                self.port,
                reconnect=False,
                charset=None,
                convertNumbers=False,
                connectTimeout=timeout,
            ),
        )
        try:
            return await within(timeout, f"the reply to {words[0]}", client.execute_command(*words))
        finally:
            await within(timeout, "Redis to hang up", client.disconnect())

    async def clean(self) -> None:
        """
        Be as new, for the next test.
        """
        await self.command("FLUSHALL")


class RabbitMQ(Server):
    """
    A RabbitMQ node, a cluster of its own. C{guest} may do everything.

    The scripts in the package's C{bin} directory are run, not those in C{/usr/sbin}, which would
    become the user C{rabbitmq}, and so only work for root.
    """

    name = "rabbitmq-server"
    boot = 60.0
    _PROGRAMS = "/usr/lib/rabbitmq/bin/", "/usr/lib/rabbitmq/lib/*/sbin/", "/opt/rabbitmq/sbin/"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self.node = f"gatewayd-{self.port}@localhost"
        self._names_port = free_port()
        self._distribution_port = free_port()
        self._names: Child | None = None
        self._configure()

    @classmethod
    def missing(cls) -> str | None:
        """
        It is several programs, and Erlang's name service.
        """
        programs = [cls._program(each) for each in ("rabbitmq-server", "rabbitmqctl")]
        found = all(programs) and find("epmd", "/usr/lib/erlang/erts-*/bin/epmd")
        return None if found else "apt-get install rabbitmq-server"

    @classmethod
    def _program(cls, name: str) -> str | None:
        return find(*(directory + name for directory in cls._PROGRAMS), name)

    def _configure(self) -> None:
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users = none\n"
            # A full disk or a small machine must not block publishers; only a test may.
            "disk_free_limit.absolute = 1MB\n"
            f"vm_memory_high_watermark.relative = {self._WATERMARK}\n"
        )
        (self.directory / "enabled_plugins").write_text("[].\n")
        (self.directory / "rabbitmq-env.conf").touch()
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text(os.urandom(10).hex())
        # Erlang does not start with one that others can read.
        cookie.chmod(0o400)

    _WATERMARK = 0.6

    def _environment(self) -> dict[str, str]:
        """
        Nothing is inherited: a machine's own node may be configured by the environment.
        """
        at = self.directory
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(at),
            # A name service of the node's own: Erlang would start one where there is none, and
            # that one would outlive us all.
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(at / "erl_crash.dump"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(at / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(at / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(at / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_SCHEMA_DIR": str(at / "schema"),
            "RABBITMQ_LOG_BASE": str(at / "logs"),
            # To standard output, and so into our log.
            "RABBITMQ_LOGS": "-",
            # Makes the start script become the Erlang machine, instead of watching over it: then
            # what we start is what serves, and what takes our signals.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _command(self) -> tuple[list[str], dict[str, str]]:
        program = self._program("rabbitmq-server")
        assert program is not None
        return [program], self._environment()

    async def _prepared(self) -> None:
        if self._names is not None and self._names.alive:
            return
        program = find("epmd", "/usr/lib/erlang/erts-*/bin/epmd")
        assert program is not None
        arguments = [program, "-port", str(self._names_port), "-address", "127.0.0.1"]
        self._names = Child(arguments, self._environment(), self.directory, self.log_path)
        await eventually(self._names_answer, "epmd", 10.0, 0.02)

    async def _names_answer(self) -> bool:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self._names_port, timeout=2)
        try:
            protocol = await connectProtocol(endpoint, Protocol())
        except Exception:
            return False
        assert protocol.transport is not None
        protocol.transport.loseConnection()
        return True

    async def _answers(self) -> bool:
        try:
            connection = await Connection.open(self.url, timeout=5)
        except Exception:
            # Not listening yet, or not yet ready for what it is asked.
            return False
        await connection.close()
        return True

    async def close(self) -> None:
        """
        End it for good, quickly, and its name service with it.
        """
        await super().close()
        if self._names is not None:
            await self._names.kill()

    async def ctl(self, *words: str, timeout: float = 30.0) -> str:
        """
        Run C{rabbitmqctl} against this node.

        @return: what it printed.
        @raise ServerFailed: it did not succeed.
        """
        self._alive()
        program = self._program("rabbitmqctl")
        assert program is not None
        code, output = await run(
            [program, "--quiet", "--node", self.node, *words],
            self._environment(),
            self.directory,
            timeout,
        )
        if code:
            raise ServerFailed(f"rabbitmqctl {' '.join(words)} exited with {code}: {output}")
        return output

    async def _rows(self, *words: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(await self.ctl(*words, "--formatter", "json"))
        return rows

    async def queues(self) -> dict[str, int]:
        """
        How many messages each queue holds, those given out and not yet acked included.
        """
        rows = await self._rows("list_queues", "name", "messages")
        return {row["name"]: row["messages"] for row in rows}

    async def connections(self) -> int:
        """
        How many clients are connected.
        """
        return len(await self._rows("list_connections", "pid"))

    async def close_connections(self, reason: str) -> None:
        """
        Disconnect all clients, as an operator does before maintenance.
        """
        await self.ctl("close_all_connections", reason)

    async def delete_queue(self, name: str) -> None:
        """
        Delete a queue with its messages, under whoever consumes from it.
        """
        await self.ctl("delete_queue", name)

    async def block_publishers(self) -> None:
        """
        Raise the memory alarm: no connection that has published is read from any more.
        """
        await self.ctl("set_vm_memory_high_watermark", "0.00001")

    async def unblock_publishers(self) -> None:
        """
        Clear the memory alarm.
        """
        await self.ctl("set_vm_memory_high_watermark", str(self._WATERMARK))

    async def clean(self) -> None:
        """
        Be as new, for the next test: delete all queues and all exchanges but AMQP's own.
        """
        queues, exchanges = await together(
            self._rows("list_queues", "name"), self._rows("list_exchanges", "name")
        )
        connection = await Connection.open(self.url)
        try:
            for row in queues:
                deleted = connection.channel.queue_delete(row["name"])
                await within(10, f"queue {row['name']} to go", deleted)
            for row in exchanges:
                if row["name"] and not row["name"].startswith("amq."):
                    deleted = connection.channel.exchange_delete(row["name"])
                    await within(10, f"exchange {row['name']} to go", deleted)
        finally:
            await connection.close()
