"""
Runs the Autobahn TestSuite's cases, and says how they came out: C{python -m tests.conformance}.

The suite itself needs Python 2. U{kosoku<https://pypi.org/project/kosoku/>} executes its case
files, so the cases' numbers and what they expect are the suite's own. The cases 12 and 13 are
about compression, to which the gateway does not agree, and are left out.

There are several runs, since a gateway does not echo what the suite expects to be echoed, and
has limits that some cases go beyond; see L{RUNS}. C{--quick} does only the first. Their reports
are in C{build/conformance}.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "build" / "conformance"
BIN = Path(sys.executable).parent

COMPRESSION = ("12.*", "13.*")
VOLUME = "9.*"
LARGE = (
    *("1.1.6", "1.1.7", "1.1.8", "1.2.6", "1.2.7", "1.2.8", "10.1.1"),
    *("9.1.*", "9.2.*", "9.3.*", "9.4.*", "9.5.*", "9.6.*"),
)
"""
The cases with messages over the default C{max_message_bytes}.
"""

PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")
TOO_BIG, NO_COMMAND = 1009, 4002
MIB = 1024 * 1024

BOOT = 20.0
"""
Seconds that a server may take to start on a slow machine.
"""

LONGEST = 900
"""
Seconds for one run of the cases.
"""

Outcome = Mapping[str, Any]
"""
kosoku's report of one case.
"""


class Run(NamedTuple):
    """
    Some of the cases against one server.

    @ivar server: C{echo}, with words of its own, or C{gateway}.
    @ivar limits: the keys of C{[limits]} that are not the default.
    @ivar judge: says in a word what became of a case; nothing, if that is not as it should be.
    @ivar least: how many cases there are at least.
    """

    name: str
    server: Sequence[str]
    chosen: Sequence[str]
    omitted: Sequence[str]
    limits: Mapping[str, int]
    judge: Callable[[Outcome], str]
    least: int


def as_the_suite(outcome: Outcome) -> str:
    """
    What the suite says of it.
    """
    behaviour = str(outcome["behavior"])
    return behaviour if behaviour in PASSED and outcome["behaviorClose"] in PASSED else ""


def as_too_big(outcome: Outcome) -> str:
    """
    It has to be closed for its size.
    """
    return "1009" if outcome["remoteCloseCode"] == TOO_BIG else ""


def as_no_command(outcome: Outcome) -> str:
    """
    What the suite says of it; but where it expects an echo, it has to be closed, because what it
    sends is no command or too big for one.
    """
    code = outcome["remoteCloseCode"]
    if any(event[0] == "message" for event in outcome["expected"].get("OK", ())):
        return str(code) if code in (TOO_BIG, NO_COMMAND) else ""
    return as_the_suite(outcome)


RUNS = (
    Run(
        "the protocol, echoing",
        ("echo",),
        (),
        (VOLUME, *COMPRESSION),
        {"max_message_bytes": 64 * 1024},
        as_the_suite,
        247,
    ),
    Run(
        "large messages, with room for them",
        ("echo", "patient"),
        (VOLUME,),
        (),
        {"max_message_bytes": 17 * MIB, "max_buffered_bytes": 64 * MIB},
        as_the_suite,
        54,
    ),
    Run(
        "large messages, with the default limits",
        ("echo",),
        LARGE,
        (),
        {},
        as_too_big,
        49,
    ),
    Run(
        "twistd gateway",
        ("gateway",),
        (),
        (VOLUME, *COMPRESSION),
        {},
        as_no_command,
        247,
    ),
)


def free_port() -> int:
    """
    A TCP port on which nobody listens.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """
    A server, once it listens on C{port}.

    @raise SystemExit: it does not.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    environment["PYTHONPATH"] = path
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=output, stderr=output
        ) as child,
    ):
        try:
            deadline = time.monotonic() + BOOT
            while not listening(port):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not serve; see {log}")
                time.sleep(0.05)
            yield
        finally:
            # In good order it would wait for what the cases left open.
            child.kill()


def listening(port: int) -> bool:
    """
    Whether somebody listens there.
    """
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(run: Run, directory: Path) -> Iterator[int]:
    """
    The server of a run, by its port.
    """
    port, log, ini = free_port(), directory / "log", directory / "gateway.ini"
    limits = "\n".join(f"{key} = {value}" for key, value in run.limits.items())
    ini.write_text(
        f"[gateway]\nlisten = tcp:{port}:interface=127.0.0.1\n"
        f"[http]\nlisten = tcp:{free_port()}:interface=127.0.0.1\n"
        f"[auth]\nsecret = {os.urandom(32).hex()}\n"
        f"[limits]\n{limits}\n"
    )
    kind, *words = run.server
    module = [sys.executable, "-m", "tests.conformance.echo", str(ini), *words]
    twistd = [str(BIN / "twistd"), "--nodaemon", "--pidfile=", "gateway", "--config", str(ini)]
    with ExitStack() as stack:
        stack.enter_context(process(module if kind == "echo" else twistd, port, log))
        if kind == "gateway":
            relay, target = free_port(), port
            ports = [str(relay), str(target)]
            module = [sys.executable, "-m", "tests.conformance.relay", *ports]
            stack.enter_context(process(module, relay, log))
            port = relay
        yield port


def kosoku() -> str:
    """
    The command.

    @raise SystemExit: there is none.
    """
    where = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    found = os.environ.get("KOSOKU") or shutil.which("kosoku", path=where)
    if found is None:
        raise SystemExit("kosoku is not installed; run: pip install -e '.[conformance]'")
    return found


def outcomes(run: Run, port: int, directory: Path) -> dict[str, Outcome]:
    """
    Run the cases, and return what is reported of each.

    @raise SystemExit: there is no report.
    """
    chosen = [word for case in run.chosen for word in ("-i", case)]
    omitted = [word for case in run.omitted for word in ("-x", case)]
    command = [kosoku(), "-m", "fuzzingclient", "-o", str(directory), *chosen, *omitted]
    with (directory / "kosoku.log").open("wb") as output:
        # Its exit code says whether it has seen failures, of which we judge ourselves.
        subprocess.run(
            [*command, f"127.0.0.1:{port}"], stdout=output, stderr=output, timeout=LONGEST
        )
    index = directory / "index.json"
    if not index.exists():
        raise SystemExit(f"kosoku made no report; see {directory}/kosoku.log")
    [cases] = json.loads(index.read_text()).values()
    return {
        case: json.loads((directory / summary["reportfile"]).read_text())
        for case, summary in cases.items()
    }


def done(number: int, run: Run) -> int:
    """
    Do one run, and tell of it.

    @return: how many cases failed, or were missing.
    """
    directory = REPORTS / str(number)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    started = time.monotonic()
    with served(run, directory) as port:
        found = outcomes(run, port, directory)
    words = {case: run.judge(outcome) for case, outcome in found.items()}
    failed = [case for case, word in words.items() if not word]
    missing = max(0, run.least - len(found))
    counts = Counter(filter(None, words.values()))
    told = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    say(
        f"{run.name}: {len(found)} cases in {time.monotonic() - started:.0f} s: "
        f"{told}, {len(failed)} FAILED"
    )
    for case in failed:
        outcome = found[case]
        say(
            f"  {case}: {outcome['behavior']}, close {outcome['behaviorClose']} "
            f"({outcome['remoteCloseCode']}): {outcome['result']}"
        )
    if missing:
        say(f"  {missing} cases were not run")
    return len(failed) + missing


def say(line: str) -> None:
    """
    Tell whoever runs this.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """
    @return: the exit code.
    """
    if set(words) - {"--quick"}:
        say("usage: python -m tests.conformance [--quick]")
        return 2
    runs = RUNS[:1] if words else RUNS
    failures = sum(done(number, run) for number, run in enumerate(runs, start=1))
    say(f"\n{failures} failed; reports are in {REPORTS.relative_to(ROOT)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
