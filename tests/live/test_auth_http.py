"""
Keys and memberships from a real HTTP server: connections that are kept, that break, that hang.
"""

from __future__ import annotations

import datetime
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any, AsyncIterator, Callable

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from gatewayd.auth.http import AT_ONCE, LONGEST, PATIENCE, HttpGuilds
from gatewayd.auth.published import PublishedKeys
from gatewayd.auth.tokens import TokenAuthenticator
from gatewayd.auth.web import NoAnswer, Web
from gatewayd.errors import TokenRefused
from gatewayd.model import Denial, Grant, Principal
from tests.issuer import Issuer, key_set
from tests.live.waiting import Moment, eventually, reactor, together, within


class Platform(Resource):
    """
    A key set, and a membership service.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.keys = b""
        self.members = {"g1", "g2"}
        self.asked = 0

    def render_GET(self, request: Request) -> bytes:
        """
        The key set.
        """
        self.asked += 1
        return self.keys

    def render_POST(self, request: Request) -> bytes:
        """
        Memberships, the same for everybody.
        """
        self.asked += 1
        assert request.content is not None
        asked = json.loads(request.content.read())["guildIds"]
        return json.dumps({"guildIds": [one for one in asked if one in self.members]}).encode()


class Counting(Site):
    """
    Counts connections.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.connections = 0

    def buildProtocol(self, addr: Any) -> Any:
        """
        One more.
        """
        self.connections += 1
        return super().buildProtocol(addr)


class Mute(Protocol):
    """
    Hears a question, says the beginning of an answer, and no more.

    @ivar heard: what it heard.
    @ivar lost: the other side has given up.
    """

    def __init__(self, said: bytes) -> None:
        self._said = said
        self.heard = b""
        self.lost: Moment[None] = Moment()

    def dataReceived(self, data: bytes) -> None:
        """
        The question.
        """
        if not self.heard:
            self.transport.write(self._said)  # type: ignore[union-attr]
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Take note.
        """
        self.lost.now(None)


class One(Factory[Protocol]):
    """
    Answers one connection.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocols = [protocol]

    def buildProtocol(self, addr: object) -> Protocol | None:
        """
        It, and then nothing.
        """
        return self._protocols.pop() if self._protocols else None


class Ports:
    """
    Listens: C{port(factory)} and C{port(factory, certificate)} are port numbers.
    """

    def __init__(self) -> None:
        self._ports: list[IListeningPort] = []

    def __call__(self, factory: Factory[Any], certificate: PrivateCertificate | None = None) -> int:
        """
        One more.
        """
        if certificate is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, factory, certificate.options(), interface="127.0.0.1")
        self._ports.append(port)
        number: int = port.getHost().port
        return number

    async def stop(self) -> None:
        """
        No more.
        """
        ports, self._ports = self._ports, []
        for port in ports:
            await port.stopListening()  # type: ignore[misc]


@pytest_twisted.async_yield_fixture
async def port() -> AsyncIterator[Ports]:
    """
    Where the tests' servers listen.
    """
    ports = Ports()
    yield ports
    await ports.stop()


@pytest_twisted.async_yield_fixture
async def web() -> AsyncIterator[Callable[..., Web]]:
    """
    Makes ways to ask a service.
    """
    made: list[Web] = []

    def new(**bounds: Any) -> Web:
        usual: dict[str, Any] = {"patience": PATIENCE, "longest": LONGEST, "at_once": AT_ONCE}
        made.append(Web.pooled(reactor, **{**usual, **bounds}))
        return made[-1]

    yield new
    await together(*(each.stop() for each in made))


def asking(authority: HttpGuilds, user: str, *guilds: str) -> Deferred[Grant]:
    """
    Ask, with an end to the waiting.
    """
    return within(10, "a grant", authority.allowed(Principal(user, 2e9), guilds))


@pytest_twisted.ensureDeferred
async def test_rotation(port: Ports, web: Callable[..., Web]) -> None:
    """
    A key that the issuer has just begun to use is taken with its first token, and those of
    before stay when the issuer goes away.
    """
    first, second = Issuer("RS256"), Issuer("ES256", "k2")
    platform = Platform()
    platform.keys = key_set(first)
    url = f"http://127.0.0.1:{port(Counting(platform))}/keys"
    way = web()
    keys = PublishedKeys(reactor, way, url, ["RS256", "ES256"], cooldown=0.5)
    checks = TokenAuthenticator(keys, ["RS256", "ES256"])
    keys.start()
    try:
        principals = await together(*(checks.authenticate(first.token()) for _ in range(100)))
        assert {principal.user for principal in principals} == {"u1"}
        assert platform.asked == 1
        platform.keys = key_set(first, second)
        assert (await checks.authenticate(second.token())).user == "u1"
        assert platform.asked == 2
        with pytest.raises(TokenRefused):
            await checks.authenticate(Issuer(kid="k3", number=3).token())
        await port.stop()
        # Or the kept connection would go on to be answered.
        await way.stop()
        keys.refresh()
        await eventually(lambda: keys._outage.error, "the issuer to be missed")
        for issuer in (first, second):
            assert (await checks.authenticate(issuer.token())).user == "u1"
        assert keys.status()["status"] == "ok"
    finally:
        await keys.stop()


@pytest_twisted.ensureDeferred
async def test_kept_connections(port: Ports, web: Callable[..., Web]) -> None:
    """
    Questions one after the other share a connection, and many at once have no more than they
    may.
    """
    site = Counting(Platform())
    url = f"http://127.0.0.1:{port(site)}/members"
    authority = HttpGuilds(reactor, web(), url)
    for number in range(20):
        grant = await asking(authority, f"u{number}", "g2", "g9", "g1")
        assert grant == Grant(("g2", "g1"), (Denial("g9", "forbidden"),))
    assert site.connections == 1
    await together(*(asking(authority, f"v{number}", "g1") for number in range(300)))
    assert 1 < site.connections <= AT_ONCE
    await authority.stop()


@pytest_twisted.ensureDeferred
async def test_connection_that_was_just_closed(port: Ports, web: Callable[..., Web]) -> None:
    """
    A service that ends a kept connection just when it is used again is asked on another.
    """

    class Fickle(Protocol):
        questions = 0
        connections = 0

        def connectionMade(self) -> None:
            type(self).connections += 1
            self.fresh = True

        def dataReceived(self, data: bytes) -> None:
            transport: Any = self.transport
            if not self.fresh:
                transport.loseConnection()
                return
            self.fresh = False
            answer = b'{"guildIds":["g1"]}'
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n"
            transport.write(head.encode() + answer)

    factory = Factory.forProtocol(Fickle)
    authority = HttpGuilds(reactor, web(), f"http://127.0.0.1:{port(factory)}/")
    for number in range(3):
        assert (await asking(authority, f"u{number}", "g1")).granted == ("g1",)
    assert Fickle.connections == 3
    await authority.stop()


def self_signed(directory: Path) -> tuple[PrivateCertificate, Path]:
    """
    A certificate for this machine that vouches for itself; and the file that holds it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = directory / "certificate.pem"
    file.write_bytes(public)
    return PrivateCertificate.loadPEM(public + private), file


# Twisted hands its certificates to pyOpenSSL in the form that this will not take for ever.
twisted_certificates = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

SAID = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nhello",
    "too much": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\nhello",
    "no HTTP": b"hello\r\n\r\n",
}


@twisted_certificates
@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_hung(
    port: Ports,
    web: Callable[..., Web],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    said: str,
) -> None:
    """
    However far a service gets before it hangs, the question has an end, and so has the
    connection.
    """
    certificate, file = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    mute = Mute(SAID[said])
    number = port(One(mute), certificate if scheme == "https" else None)
    asking = web(patience=0.5).ask("GET", f"{scheme}://127.0.0.1:{number}/")
    with pytest.raises(NoAnswer):
        await within(10, "an end", asking)
    await within(10, "the end of its connection", mute.lost.wait())
    assert mute.heard.startswith(b"GET / HTTP/1.1")


@twisted_certificates
@pytest_twisted.ensureDeferred
async def test_impostor(port: Ports, web: Callable[..., Web], tmp_path: Path) -> None:
    """
    A service whose certificate nobody vouches for is not asked.
    """
    certificate, _ = self_signed(tmp_path)
    platform = Platform()
    number = port(Counting(platform), certificate)
    with pytest.raises(NoAnswer, match="certificate"):
        await web().ask("GET", f"https://127.0.0.1:{number}/")
    assert platform.asked == 0
