"""
Who is measured.

The settings are those that favour a peer: compression off unless it is what is measured, no
pings of its own, uvloop where it runs on asyncio, one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from string import Template
from typing import Callable, Mapping, NamedTuple

from benchmarks.builds import BUILD, HERE
from benchmarks.dialects import (
    ADMIN_TOKEN,
    GATEWAYD,
    LINES,
    NATS,
    NCHAN,
    SOCKET_IO,
    Dialect,
)
from benchmarks.limits import most_clients
from benchmarks.tokens import SECRET
from benchmarks.wares import NODE, VENV, Debian, Nothing, Npm, PyPI, Ware

PEERS = HERE / "peers"


class Site(NamedTuple):
    """
    Where a server is to run.

    @ivar folder: an empty one, of this server alone.
    @ivar deflate: whether it is to offer compression.
    """

    web: int
    control: int
    folder: Path
    deflate: bool


class Peer(NamedTuple):
    """
    One kind of server.

    @ivar command: what starts it.
    @ivar deflates: whether it can be asked to compress.
    @ivar environment: beside our own.
    @ivar most_clients: with more it takes so long that it is left out.
    """

    name: str
    command: Callable[[Site], list[str]]
    ware: Ware = Nothing()
    dialect: Dialect = LINES
    deflates: bool = False
    environment: Mapping[str, str] = {}
    most_clients: int = 1_000_000


def _ports(site: Site) -> list[str]:
    return [str(site.web), str(site.control)]


def _compression(site: Site) -> str:
    return "deflate" if site.deflate else "plain"


def _autobahn(way: str) -> Callable[[Site], list[str]]:
    script = str(PEERS / "stock_autobahn.py")
    return lambda site: [sys.executable, script, *_ports(site), way, _compression(site)]


def _python(script: str) -> Callable[[Site], list[str]]:
    return lambda site: [str(VENV / "bin" / "python"), str(PEERS / script), *_ports(site)]


def _node(name: str, script: str, *packages: str, last: str = "", deflates: bool = False) -> Peer:
    return Peer(
        name,
        lambda site: ["node", str(PEERS / script), *_ports(site), last or _compression(site)],
        Npm(packages),
        SOCKET_IO if script == "socket_io.js" else LINES,
        deflates,
        {"NODE_PATH": str(NODE / "node_modules"), "NODE_ENV": "production"},
    )


def _filled(name: str, site: Site, **more: str) -> str:
    text = (PEERS / name).read_text()
    words = {"WEB": site.web, "CONTROL": site.control, "FOLDER": site.folder} | more
    path = site.folder / name
    path.write_text(Template(text).substitute(words))
    return str(path)


_NGINX = Debian(
    ("nginx", "libnginx-mod-nchan"),
    ("usr/sbin/nginx", "usr/lib/nginx/modules/ngx_nchan_module.so"),
    # nchan makes nginx try its default folder for bodies, whatever the configuration says.
    ("/var/lib/nginx",),
)
_NATS = Debian(("nats-server",), ("usr/sbin/nats-server",))


def _nginx(site: Site) -> list[str]:
    module = _NGINX.path(_NGINX.files[1])
    conf = _filled("nginx.conf", site, MODULE=module, FILES=str(min(most_clients() + 100, 10**6)))
    log = str(site.folder / "error.log")
    return [_NGINX.path(_NGINX.files[0]), "-p", str(site.folder), "-e", log, "-c", conf]


def _nats(site: Site) -> list[str]:
    compression = "true" if site.deflate else "false"
    return [_NATS.path(_NATS.files[0]), "-c", _filled("nats.conf", site, COMPRESSION=compression)]


def _gatewayd(site: Site) -> list[str]:
    config = site.folder / "gateway.ini"
    config.write_text(
        f"""
[gateway]
listen = tcp:{site.web}:interface=127.0.0.1:backlog=1024
instance = benchmark
identify_timeout = 600 s
drain_time = 0 s
compression = {"yes" if site.deflate else "no"}
[http]
listen = tcp:{site.control}:interface=127.0.0.1
admin_token = {ADMIN_TOKEN}
[auth]
secret = {SECRET}
[rabbitmq]
url =
[redis]
url =
"""
    )
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "--nodaemon", "--pidfile=", "gateway", "--config", str(config)]


FLOOR = Peer("C, send(2) in a loop", lambda site: [str(BUILD / "floor"), *_ports(site)])
STOCK = Peer("Autobahn sendMessage", _autobahn("message"), deflates=True)
OURS = Peer(
    "gatewayd",
    _gatewayd,
    dialect=GATEWAYD,
    deflates=True,
    environment={"PYTHONPATH": str(HERE.parent)},
)
WS = _node("ws 8.23", "ws.js", "ws@8.23.0", deflates=True)
UWS = _node(
    "uWebSockets.js 20.30",
    "uwebsockets.js",
    "@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0",
    deflates=True,
)
_UVLOOP = "uvloop==0.23.0"

PEERS_ALL = (
    FLOOR,
    OURS,
    UWS,
    Peer(
        "picows 2.3",
        _python("picows_server.py"),
        PyPI(("picows==2.3.1", _UVLOOP)),
    ),
    Peer("nchan 1.3.6", _nginx, _NGINX, NCHAN),
    WS,
    Peer("aiohttp 3.14", _python("aiohttp_server.py"), PyPI(("aiohttp==3.14.5", _UVLOOP))),
    Peer(
        "websockets 17.4 broadcast()",
        _python("websockets_broadcast.py"),
        PyPI(("websockets==17.4", _UVLOOP)),
    ),
    Peer("NATS WebSocket", _nats, _NATS, NATS),
    _node(
        "socket.io 4.8 on uWebSockets.js",
        "socket_io.js",
        "socket.io@4.8.4",
        "@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0",
        last="uws",
    ),
    _node("socket.io 4.8", "socket_io.js", "socket.io@4.8.4", last="ws"),
    Peer("Autobahn sendPreparedMessage", _autobahn("prepared")),
    STOCK,
    Peer("tornado 6.6", _python("tornado_server.py"), PyPI(("tornado==6.6.1", _UVLOOP))),
    Peer(
        "python-socketio 5.18",
        _python("python_socketio.py"),
        PyPI(("python-socketio==5.18.1", "aiohttp==3.14.5", _UVLOOP)),
        SOCKET_IO,
        most_clients=1000,
    ),
    Peer(
        "Django Channels 4.3, daphne",
        _python("django_channels.py"),
        PyPI(("channels==4.3.2", "daphne==4.2.3")),
        most_clients=1000,
    ),
)
QUICK = (FLOOR, OURS, STOCK)
