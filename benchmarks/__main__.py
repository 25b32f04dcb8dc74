"""
Runs the benchmarks: C{python -m benchmarks quick|all|growth|memory|pipeline|report|honesty}.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Callable

from benchmarks import (
    bandwidth,
    connections,
    fanout,
    growth,
    honesty,
    memory,
    pipeline,
    plots,
    publishing,
    report,
    summary,
)
from benchmarks.builds import Unbuilt, build
from benchmarks.fanout import say
from benchmarks.limits import possible, raise_limits
from benchmarks.roster import OURS, PEERS_ALL, QUICK, STOCK, UWS, WS
from benchmarks.server import Failed

MANY = 10_000


def quick() -> bool:
    """
    The floor, stock Autobahn and the gateway, in under three minutes.
    """
    found = fanout.measure(QUICK, 1000, rounds=3, seconds=1.0)
    clients = _clients(2000, rounds=1, idle=None)
    print(f"{report.machine()}. 3 rounds, 1,000 clients.\n")
    if found.samples:
        print("One event at a time:\n")
        print(summary.one_at_a_time(found))
        print(f"{fanout.IN_FLIGHT} in flight:\n")
        print(summary.in_flight(found))
        print("Each client:\n")
        print(summary.clients(found))
    if clients.publishing is not None:
        print(summary.publishing(clients.publishing))
    if clients.connecting is not None:
        print(summary.connecting(clients.connecting))
    return _told(found.failures + clients.failures + _missing(found))


def everything() -> bool:
    """
    All of it, into docs/benchmarks.
    """
    plots.check()
    fanouts = report.Fanouts(report.machine(), 3, {}, [])
    for wanted, rounds in ((1000, 3), (MANY, 3)):
        clients, shortage = possible(wanted)
        if shortage:
            fanouts.notes.append(shortage)
            say(f"!! {shortage}")
        fanouts.notes += [
            f"{peer.name} is left out with {clients} clients: it would take too long."
            for peer in PEERS_ALL
            if clients > peer.most_clients
        ]
        say(f"{clients} clients")
        fanouts.by_clients[clients] = fanout.measure(PEERS_ALL, clients, rounds, seconds=2.0)
        report.keep(fanouts)
    clients_found = _clients(5000, rounds=3, idle=MANY)
    report.keep(clients_found)
    say("Bandwidth")
    wires = bandwidth.measure((OURS, STOCK, WS, UWS), 1000, seconds=2.0)
    report.keep(wires)
    grew = _growth()
    failures = [text for each in fanouts.by_clients.values() for text in each.failures]
    failures += [text for each in fanouts.by_clients.values() for text in _missing(each)]
    failures += grew.failures + clients_found.failures + wires.failures
    print(report.write().read_text(encoding="utf-8"))
    return _told(list(dict.fromkeys(failures)))


def curves() -> bool:
    """
    The growth curves alone.
    """
    plots.check()
    grew = _growth()
    report.write()
    return _told(grew.failures)


def page() -> bool:
    """
    The page again, from what was measured last.
    """
    found = report.kept(growth.Growth)
    if found is not None:
        plots.draw(found, report.DOCS)
    print(report.write())
    return True


def guard(*, record: bool) -> bool:
    """
    The guard on memory.
    """
    well, words = memory.guard(record=record)
    print(words)
    return well


def honest() -> bool:
    """
    Whether the load client notices what a server does wrong.
    """
    wrong = honesty.check()
    if not wrong:
        print(f"The load client noticed all of {len(honesty.FAULTS)} faults.")
    return _told(wrong)


def pipe(rabbitmq: str, redis: str, rounds: int, *, profile: bool) -> bool:
    """
    The way of an event through RabbitMQ and Redis, and what each of its legs costs.
    """
    found = pipeline.measure(rabbitmq, redis, rounds=rounds, profile=profile)
    print(pipeline.told(found))
    print(pipeline.line(found))
    return _told(found.failures)


def _growth() -> growth.Growth:
    say("Growth")
    found = growth.measure(seconds=1.0)
    report.keep(found)
    for path in plots.draw(found, report.DOCS):
        say(f"  {path}")
    return found


def _clients(clients: int, rounds: int, idle: int | None) -> report.Clients:
    say("Clients of the gateway")
    found = report.Clients(None, None, None, [])
    try:
        found.publishing = publishing.measure()
        found.connecting = connections.connecting(clients, rounds)
        if idle is not None:
            found.idle = connections.idle(possible(idle)[0], heartbeats=True)
    except Failed as failed:
        found.failures.append(f"gatewayd: {failed}")
        say(f"!! FAILED: {failed}")
    return found


def _missing(found: fanout.Fanout) -> list[str]:
    return [f"MISSING: {name}: {reason}" for name, reason in found.missing.items()]


def _told(failures: list[str]) -> bool:
    """
    Say again, at the end, what went wrong. Whoever is missing is no failure of ours.
    """
    for text in failures:
        print(f"!! {text}")
    return all(text.startswith("MISSING") for text in failures)


def main(arguments: list[str]) -> int:
    """
    @return: the exit code, 0 only if all that was measured is sound.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the gateway beside its peers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    work: dict[str, Callable[[], bool]] = {
        "quick": quick,
        "all": everything,
        "growth": curves,
        "report": page,
        "honesty": honest,
    }
    for name, function in work.items():
        commands.add_parser(name, help=(function.__doc__ or "").strip())
    guarding = commands.add_parser("memory", help=(guard.__doc__ or "").strip())
    guarding.add_argument("--record", action="store_true", help="write memory.json anew")
    piping = commands.add_parser("pipeline", help=(pipe.__doc__ or "").strip())
    piping.add_argument("--rabbitmq", metavar="URL", default=pipeline.RABBITMQ)
    piping.add_argument("--redis", metavar="URL", default=pipeline.REDIS)
    piping.add_argument("--rounds", type=int, default=3)
    piping.add_argument("--profile", action="store_true", help="what each leg spends it on")
    chosen = parser.parse_args(arguments)
    # So that servers are ended however we are.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_limits()
    try:
        if chosen.command == "pipeline":
            well = pipe(chosen.rabbitmq, chosen.redis, chosen.rounds, profile=chosen.profile)
            return 0 if well else 1
        build()
        if chosen.command == "memory":
            well = guard(record=chosen.record)
        else:
            well = work[chosen.command]()
    except (Failed, Unbuilt, plots.NoPlots) as reason:
        print(reason)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
