"""Check that the service's memory stays flat over many requests.

The gallery is small, so that it often copies its living rows, and memory rises and falls several
times. The script serves it and lets some clients search it, replace, add and delete crops, and take
and delete snapshots, in a random order. The service's memory is read ten times a second and told
per tenth of the requests. 18,000 requests are an hour of five per second.

::

    python benchmarks/soak.py --requests 18000

The exit status is 1 if a request failed, or if the service took more memory at any time of the
second half than in the first one by more than ``GROWTH_MIB``. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from capacity import GALLERY, Asked, fill, search
from serving.process import resident_mib, serving

from service.settings import Settings
from service.testing import solid

CLIENTS = 4
TENTHS = 10
IDS = 400  # of the crops that are added, replaced and deleted
GROWTH_MIB = 32.0
ACTIONS = {"search": 60, "put": 25, "delete": 14, "snapshot": 1}


@dataclass
class Soak:
    """What the clients share.

    Attributes:
        url: the service's address.
        asked: what searches ask for.
        left: requests that nobody has begun.
        statuses: answers per action and status.
    """

    url: str
    asked: Asked
    left: int
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, seed: int) -> None:
        """Send requests until none is left."""
        rng = random.Random(seed)  # noqa: S311 - no secret, a repeatable order
        actions, weights = list(ACTIONS), list(ACTIONS.values())
        with httpx.Client(base_url=self.url, timeout=60) as http:
            while self._begin():
                (action,) = rng.choices(actions, weights)
                self._count(f"{action} {self._act(http, action, rng)}")

    def _begin(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def _count(self, told: str) -> None:
        with self.lock:
            self.statuses[told] += 1

    def _act(self, http: httpx.Client, action: str, rng: random.Random) -> int:
        """Send one request; return its status."""
        crop = f"/galleries/{GALLERY}/crops/soak/{rng.randrange(IDS)}.jpg"
        match action:
            case "search":
                search(http, self.asked, rerank=rng.random() < 0.2)
                return 200
            case "put":
                colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
                picture = {"image": ("a.png", solid(colour, kind="PNG"))}
                fields = {"camera": f"c{rng.randrange(16)}", "identity": str(rng.randrange(500))}
                return http.put(crop, files=picture, data=fields).status_code
            case "delete":
                return http.delete(crop).status_code
            case _:
                path = f"/galleries/{GALLERY}/snapshots"
                taken = http.post(path)
                if taken.is_success:
                    http.delete(f"{path}/{taken.json()['snapshot_id']}").raise_for_status()
                return taken.status_code


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        data = Path(temporary)
        asked = fill(data, arguments.model, arguments.crops)
        with serving(arguments.model, data) as service:
            soak = Soak(service.url, asked, arguments.requests)
            seconds, tenths = soaked(soak, service.pid, arguments.requests)
    half = TENTHS // 2
    growth = max(map(max, tenths[half:])) - max(map(max, tenths[:half]))
    failed = {told: n for told, n in soak.statuses.items() if told.split()[1] not in EXPECTED}
    report = {
        "benchmark": "soak",
        "crops": arguments.crops,
        "requests": arguments.requests,
        "seconds": round(seconds),
        "statuses": dict(sorted(soak.statuses.items())),
        "least_and_most_mib": [[round(min(one)), round(max(one))] for one in tenths],
        "growth_mib": round(growth, 1),
        "broken": bool(failed) or growth > GROWTH_MIB,
    }
    print(json.dumps(report))
    sys.exit(1 if report["broken"] else 0)


EXPECTED = {"200", "201", "204", "404", "409"}
"""404: to delete a crop that is not there. 409: to take a snapshot while another is taken."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--crops", type=int, default=5_000, help="size of the gallery")
    parser.add_argument("--folder", type=Path, help="folder for the temporary gallery")
    parser.add_argument("--model", type=Path, default=Settings().model, help="model folder")
    return parser.parse_args()


def soaked(soak: Soak, pid: int, requests: int) -> tuple[float, list[list[float]]]:
    """Let the clients work; return the seconds, and readings of memory per tenth, MiB."""
    tenths: list[list[float]] = [[] for _ in range(TENTHS)]
    clients = [threading.Thread(target=soak.work, args=(seed,)) for seed in range(CLIENTS)]
    begun = time.perf_counter()
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        done = min(requests - soak.left, requests - 1)
        tenths[max(done, 0) * TENTHS // requests].append(resident_mib(pid))
        time.sleep(0.1)
    return time.perf_counter() - begun, tenths


if __name__ == "__main__":
    main()
