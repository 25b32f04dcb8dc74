"""
Runs the suites, each by the runner it is written for, and adds up: C{python -m tests [SUITE ...]}.

It trusts no runner's exit code alone. trial calls a module of which it understands nothing
PASSED, with no test run, so each suite must run at least as many tests as its files define.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Sequence

HERE = Path(__file__).parent


class Tally(NamedTuple):
    """
    How a suite came out.

    @ivar defined: the test functions in its files; tests shared by several classes make for more
        that run.
    @ivar trouble: what is wrong with the run as a whole.
    """

    name: str
    defined: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    trouble: str = ""

    def judged(self, exit_code: int) -> Tally:
        """
        The same, with C{trouble} where the figures do not add up.
        """
        ran = self.passed + self.failed + self.skipped
        if exit_code and not self.failed:
            return self._replace(trouble=f"its runner ended with {exit_code}")
        if not ran:
            return self._replace(trouble="no test was run")
        if ran < self.defined:
            seen = f"{ran} of at least {self.defined} tests were run"
            return self._replace(trouble=f"{seen}: does its runner see all of them?")
        return self

    def __str__(self) -> str:
        line = f"{self.name:>10}: {figures(self)}"
        return f"{line}  -- {self.trouble}" if self.trouble else line


def figures(tally: Tally) -> str:
    """
    The plain closing words that people and build servers look for.
    """
    return f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped"


def defined(suite: str) -> int:
    """
    The test functions and methods in the files of C{suite}.
    """
    return sum(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for path in sorted((HERE / suite).rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def trial(suite: str) -> Tally:
    """
    A suite of trial's TestCases.
    """
    code, text = shown([sys.executable, "-m", "twisted.trial", f"tests.{suite}"])
    # Its last line, such as: FAILED (skips=1, failures=2, errors=1, successes=20)
    closing = re.findall(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", text, re.MULTILINE)
    counts = {
        name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", closing[-1] if closing else "")
    }
    return Tally(
        suite,
        defined(suite),
        passed=counts.get("successes", 0) + counts.get("expectedFailures", 0),
        failed=sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses")),
        skipped=counts.get("skips", 0) + counts.get("todos", 0),
    ).judged(code)


def live(suite: str) -> Tally:
    """
    The suite of pytest functions, against real brokers where there are any.
    """
    environment = dict(os.environ)
    if not absent():
        environment["GATEWAYD_REQUIRE_BROKERS"] = "1"
    # Most of the time is spent waiting for brokers that are being broken, so three at a time take
    # less than half as long even on two cores. Each has brokers of its own.
    three = ("-n", "3", "--dist", "loadgroup")
    code, text = shown([sys.executable, "-m", "pytest", *three, f"tests/{suite}"], environment)
    # Its last line, such as: ===== 1 failed, 20 passed, 3 skipped, 1 error in 4.20s =====
    closing = re.findall(r"^=* ?((?:\d+ \w+(?:, )?)+) in [\d.]+s.*$", text, re.MULTILINE)
    counts = {
        name: int(n) for n, name in re.findall(r"(\d+) (\w+)", closing[-1] if closing else "")
    }
    return Tally(
        suite,
        defined(suite),
        passed=counts.get("passed", 0) + counts.get("xfailed", 0),
        failed=sum(counts.get(name, 0) for name in ("failed", "error", "errors", "xpassed")),
        skipped=counts.get("skipped", 0),
    ).judged(code)


def shown(command: Sequence[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    """
    Run C{command} from the root of the checkout, showing what it prints as it comes.

    @return: its exit code, and what it printed.
    """
    print(f"\n--- {' '.join(Path(part).name for part in command)}\n", flush=True)
    text = []
    with subprocess.Popen(
        command,
        cwd=HERE.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            text.append(line)
    return child.returncode, "".join(text)


def absent() -> list[str]:
    """
    The Debian packages of those brokers that the live tests start and that are not here.
    """
    from tests.live.brokers import RabbitMQ, Redis

    return [said.split()[-1] for said in (Redis.missing(), RabbitMQ.missing()) if said]


def install(packages: Sequence[str]) -> None:
    """
    Install C{packages} where that is allowed without asking anybody; otherwise, or if it does
    not work, say what a person can do. The tests go on in either case.
    """
    advice = f"To run all live tests: sudo apt-get install {' '.join(packages)}"
    sudo: list[str] = []
    if os.geteuid() != 0:
        sudo = ["sudo", "-n"]
        asked = (
            subprocess.run([*sudo, "true"], capture_output=True) if shutil.which("sudo") else None
        )
        if asked is None or asked.returncode:
            print(f"{advice}\nWithout them, the tests that need them are skipped.")
            return
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    if not shutil.which("apt-get"):
        print(f"This is no Debian. {advice}, or what your system calls them")
    elif (
        shown([*apt, "update"])[0]
        or shown([*apt, "install", "-y", "--no-install-recommends", *packages])[0]
    ):
        print(f"That did not work. {advice}")


SUITES = {"unit": trial, "wire": trial, "contracts": trial, "live": live}


def main(names: Sequence[str]) -> int:
    """
    @param names: of L{SUITES}; none stands for all.
    @return: the exit code, 0 only if all is well.
    """
    unknown = set(names) - set(SUITES)
    if unknown:
        print(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
        return 2
    chosen = [name for name in SUITES if name in names or not names]
    if "live" in chosen and (packages := absent()):
        install(packages)
    tallies = [SUITES[name](name) for name in chosen]
    print("\n--- all suites\n")
    print(*tallies, sep="\n")
    lost = sum(bool(tally.trouble) for tally in tallies)
    total = Tally(
        "all",
        defined=sum(tally.defined for tally in tallies),
        passed=sum(tally.passed for tally in tallies),
        # A suite that did not run as it should counts, or the last line would say that all is well.
        failed=sum(tally.failed for tally in tallies) + lost,
        skipped=sum(tally.skipped for tally in tallies),
    )
    print(f"\n{figures(total)}", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
