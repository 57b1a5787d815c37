"""Rounds of kills: clients send requests, SIGKILL strikes at a random moment, nothing is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crash.clients import Writer
from crash.importer import Importer
from crash.inspection import create_gallery, inspect
from crash.pictures import Pictures
from crash.served import Served

GALLERY = "kills"
MOST_WORK = 50  # acknowledgements between two kills
LONGEST_WORK = 3.0  # seconds, in case a slow machine acknowledges less
DURING_START = 0.15  # share of kills that hit a start rather than the work


@dataclass
class KillReport:
    """The outcome of the rounds.

    Attributes:
        kills: SIGKILLs.
        kills_while_starting: kills that hit a starting service.
        operations: requests that change something.
        acknowledged: operations answered with success.
        in_flight_kept: operations killed before their answer and found complete.
        in_flight_gone: operations killed before their answer and found absent.
        searches: answers compared with the oracle.
        slowest_start: the most seconds until the service was ready.
        problems: every problem, in words; ``lost`` counts them.
    """

    kills: int = 0
    kills_while_starting: int = 0
    operations: int = 0
    acknowledged: int = 0
    in_flight_kept: int = 0
    in_flight_gone: int = 0
    searches: int = 0
    slowest_start: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """The number of problems."""
        return len(self.problems)


def run_kills(
    folder: Path,
    kills: int,
    seed: int,
    *,
    model: Path | None = None,
    writers: int = 4,
    tell: Callable[[str], None] = lambda _: None,
) -> KillReport:
    """Kill a service repeatedly on one data folder.

    Args:
        folder: an empty folder for data and log.
        kills: the number of SIGKILLs.
        seed: for the pictures, the clients' choices and the moments.
        model: a model folder; None serves an embedder that needs no weights.
        writers: clients that change the gallery at the same time.
        tell: receives a line per round.

    Returns:
        The report; the first round that finds a problem is the last.
    """
    rng, pictures = random.Random(seed), Pictures(seed)
    served = Served(folder / "data", folder / "log", model)
    clients: list[Writer | Importer] = [
        Writer(f"w{n}", GALLERY, pictures, seed * 100 + n) for n in range(writers)
    ]
    clients.append(importer := Importer("i", GALLERY, pictures, seed))
    report = KillReport()
    try:
        while True:
            _start(served, report)
            pictures.learn(served.url)
            create_gallery(served.url, GALLERY)
            importer.catch_up(served.url)
            report.problems += importer.failures
            report.problems += inspect(served.url, GALLERY, clients, pictures, rng)
            report.searches += 2
            _count(report, clients)
            tell(f"{report.kills} kills, {report.acknowledged} acknowledged, lost {report.lost}")
            if report.problems or report.kills >= kills:
                return report
            _work_and_kill(served, clients, rng)
            report.kills += 1
            report.problems += [failure for client in clients for failure in client.failures]
            if report.kills < kills and rng.random() < DURING_START:
                _kill_while_starting(served, report, rng)
    finally:
        served.kill()


def _kill_while_starting(served: Served, report: KillReport, rng: random.Random) -> None:
    served.start()
    time.sleep(rng.uniform(0, 2 * report.slowest_start))
    served.kill()
    report.kills += 1
    report.kills_while_starting += 1


def _start(served: Served, report: KillReport) -> None:
    start = time.monotonic()
    served.start()
    served.wait_until_alive()
    report.slowest_start = max(report.slowest_start, time.monotonic() - start)


def _work_and_kill(served: Served, clients: list[Writer | Importer], rng: random.Random) -> None:
    """Kill after a random number of acknowledgements plus a random delay."""
    enough = _acknowledged(clients) + rng.randrange(MOST_WORK)
    deadline = time.monotonic() + LONGEST_WORK
    stop = threading.Event()
    threads = [
        threading.Thread(target=client.work, args=(served.url, stop), daemon=True)
        for client in clients
    ]
    for thread in threads:
        thread.start()
    while _acknowledged(clients) < enough and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.1))
    served.kill()
    stop.set()
    for thread in threads:
        thread.join()


def _acknowledged(clients: list[Writer | Importer]) -> int:
    return sum(client.ledger.acknowledged for client in clients)


def _count(report: KillReport, clients: list[Writer | Importer]) -> None:
    report.operations = sum(client.operations for client in clients)
    ledgers = [client.ledger for client in clients]
    report.acknowledged = _acknowledged(clients)
    report.in_flight_kept = sum(ledger.in_flight_kept for ledger in ledgers)
    report.in_flight_gone = sum(ledger.in_flight_gone for ledger in ledgers)
