"""
C{gatewayctl}: what an operator or a developer does beside a running gateway.

What a command needs beyond the configuration it imports itself, so that a token is not
kept waiting for a WebSocket library.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Mapping, Sequence, TypeVar

import click

from gatewayd import __version__
from gatewayd.config import Config, read, warnings
from gatewayd.config.values import SYMMETRIC, WrongValue, duration
from gatewayd.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

T = TypeVar("T")

DAY = 24 * 3600.0

WELCOME = """\
  clients connect to   {ws}
  status and stats     {http}

Listen as {user}, in another terminal:

  {ctl} listen --url {ws} --user {user} --guild {guild} --token {token}

Make something happen:

  curl -H "Authorization: Bearer {admin_token}" -H "Content-Type: application/json" \\
    -d '{{"event": "message.create", "guildId": "{guild}", "data": {{"id": "m1", "content": "hello"}}}}' \\
    {http}/events

Ctrl-C stops it. The token holds for a day, while this runs.
"""


class Faults(click.ClickException):
    """
    A configuration that nothing can be done with.
    """

    exit_code = 2

    def __init__(self, error: ConfigError) -> None:
        super().__init__("\n".join(error.faults))

    def show(self, file: Any = None) -> None:
        """
        All of them, a line each, as the gateway itself would tell them.
        """
        click.echo(self.message, err=True)


def _lifetime(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        seconds = duration(text)
    except WrongValue:
        raise click.BadParameter(f"{text!r} is no duration; write 90 s, 10 m or 1 h") from None
    if seconds < 1:
        raise click.BadParameter("a token lives a second at least")
    return seconds


config_option = click.option(
    "--config",
    metavar="FILE",
    help="The gateway's ini file. GATEWAY_SECTION_KEY in the environment wins over it.",
)
user_option = click.option("--user", metavar="ID", required=True, help="Whom the token is for.")
guild_option = click.option(
    "--guild", "guilds", metavar="ID", multiple=True, help="A guild; may be given several times."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gatewayctl")
def main() -> None:
    """Tools around gatewayd, a WebSocket gateway."""


@main.command("check-config")
@config_option
def check_config(config: str | None) -> None:
    """Read the configuration as the gateway would, and tell every fault in it."""
    for warning in warnings(_read(config, os.environ), os.environ):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{config or 'The environment'}: no faults")


@main.command()
@user_option
@guild_option
@config_option
@click.option(
    "--expires", callback=_lifetime, default="1h", show_default=True, help="How long it holds."
)
def token(user: str, guilds: tuple[str, ...], config: str | None, expires: float) -> None:
    """
    Make a token, signed with the configured secret, for development.

    It holds wherever a gateway has the same secret, so treat it as a password.
    """
    click.echo(_mint(_read(config, os.environ, require_key=False), user, guilds, expires))


@main.command()
@click.option("--url", default="ws://localhost:3005", show_default=True, help="The gateway.")
@user_option
@guild_option
@click.option("--token", required=True, help="A token for this user, as `token` makes one.")
@click.option("--after", metavar="EVENT_ID", help="Ask first for what came after this event.")
def listen(url: str, user: str, guilds: tuple[str, ...], token: str, after: str | None) -> None:
    """
    Connect as a client, and print what comes, a line each.

    Heartbeats are answered and not shown. Stop it with Ctrl-C.
    """
    from twisted.internet.error import ConnectError, DNSLookupError

    from gatewayd.ws.listening import listen as listening

    identify: dict[str, Any] = {"userId": user, "token": token, "guildIds": list(guilds)}
    if after is not None:
        identify["lastEventId"] = after
    try:
        ending = _run(lambda reactor: listening(reactor, url, identify, click.echo))
    except (ConnectError, DNSLookupError) as error:
        raise click.ClickException(f"{url} does not answer: {error}") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    raise click.ClickException(f"the connection ended: {ending.code} {ending.reason}")


@main.command()
@config_option
@click.option("--user", metavar="ID", default="alice", show_default=True, help="Who to try it as.")
@click.option("--guild", metavar="ID", default="g1", show_default=True, help="Their guild.")
def dev(config: str | None, user: str, guild: str) -> None:
    """
    Run a gateway in this terminal, and say how to try it.

    Without --config it is the embedded default: no RabbitMQ, no Redis. Where no secret or
    admin token is configured, new ones are made for this run.
    """
    twistd = _twistd()
    environment = dict(os.environ)
    configured = _read(config, environment, require_key=False)
    if configured.auth.secret is None:
        environment["GATEWAY_AUTH_SECRET"] = token_urlsafe(32)
    # One that was configured is not ours to show.
    admin_token = "$GATEWAY_HTTP_ADMIN_TOKEN"
    if configured.http.admin_token is None:
        environment["GATEWAY_HTTP_ADMIN_TOKEN"] = admin_token = token_urlsafe(16)
    configured = _read(config, environment)
    user_token = _mint(configured, user, [guild], DAY)

    sockets, pages = _run(
        lambda reactor: _free(reactor, [configured.gateway.listen, configured.http.listen])
    )
    click.echo(
        WELCOME.format(
            ws=f"ws://{sockets[0]}",
            http=f"http://{pages[0]}",
            ctl=sys.argv[0],
            user=user,
            guild=guild,
            token=user_token,
            admin_token=admin_token,
        )
    )
    arguments = [twistd, "--nodaemon", "--pidfile=", "gateway"]
    os.execve(twistd, arguments + (["--config", config] if config else []), environment)


def _read(path: str | None, environment: Mapping[str, str], *, require_key: bool = True) -> Config:
    try:
        return read(path, environment, require_key=require_key)
    except ConfigError as error:
        raise Faults(error) from None


def _mint(configured: Config, user: str, guilds: Sequence[str], lifetime: float) -> str:
    """
    A token as C{configured} wants it.
    """
    from gatewayd.auth.minting import mint

    auth = configured.auth
    algorithm = next((name for name in auth.algorithms if name in SYMMETRIC), None)
    if algorithm is None:
        raise click.ClickException(
            f"This gateway checks tokens with a public key ([auth] algorithms = "
            f"{', '.join(auth.algorithms)}); only the holder of the private key can make one."
        )
    if auth.secret is None:
        raise click.ClickException(
            "No secret to sign with: set [auth] secret_file or secret in the file that --config "
            "names, or GATEWAY_AUTH_SECRET, to what the gateway has."
        )
    return mint(
        auth.secret.get_secret_value(),
        algorithm,
        user=user,
        guilds=guilds,
        now=time.time(),
        lifetime=lifetime,
        issuer=auth.issuer,
        audience=auth.audience,
    )


def _twistd() -> str:
    """
    The C{twistd} of the environment that this command is installed in.
    """
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise click.ClickException("twistd is not to be found; is Twisted installed here?")
    return found


async def _free(reactor: Any, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """
    Listen for a moment on every endpoint of C{groups}, to tell before the start what is
    taken, and return where a client finds each.
    """
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.error import CannotListenError
    from twisted.internet.protocol import Factory

    found: list[list[str]] = []
    for group in groups:
        found.append([])
        for description in group:
            try:
                port = await serverFromString(reactor, description).listen(Factory())
            except CannotListenError as error:
                raise click.ClickException(
                    f"Cannot listen on {description}: {error.socketError.strerror}. Stop what "
                    "has it, or choose others in the environment: "
                    "GATEWAY_GATEWAY_LISTEN=tcp:4005 GATEWAY_HTTP_LISTEN=tcp:4006"
                ) from None
            except (OSError, ValueError) as error:
                raise click.ClickException(f"Cannot listen on {description}: {error}") from None
            address = port.getHost()
            found[-1].append(f"localhost:{getattr(address, 'port', description)}")
            await port.stopListening()
    return found


def _run(main: Callable[[Any], Coroutine[Deferred[Any], Any, T]]) -> T:
    """
    What C{main} returns or raises, once the reactor has run for it. Once a process.
    """
    from twisted.internet.task import react

    outcome: list[T | Exception] = []

    async def kept(reactor: Any) -> None:
        try:
            outcome.append(await main(reactor))
        except Exception as error:
            outcome.append(error)

    try:
        react(kept)
    except SystemExit:
        # That is how react() returns. With no outcome, Ctrl-C ended it.
        if not outcome:
            raise
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
