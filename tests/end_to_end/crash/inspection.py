"""Checks that everything acknowledged is stored, and that searches find it."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import httpx
import numpy as np
from crash.ledger import Ledger, Record
from crash.pictures import Pictures

TOLERANCE = 1e-6
QUERIES = 6
FIELDS = ("digest", "identity", "camera", "timestamp", "origin")
PICTURES = 4
MOST_MATCHES = 1000


class Client(Protocol):
    """A client that changes its own crops and keeps a ledger."""

    @property
    def name(self) -> str:
        """The prefix of its crop ids."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Its ledger."""
        ...


def create_gallery(url: str, name: str) -> None:
    """Create a gallery that keeps pictures, unless it exists."""
    body = {"name": name, "store_crops": True}
    answer = httpx.post(f"{url}/galleries", json=body, timeout=60)
    if answer.status_code not in {201, 409}:
        raise RuntimeError(answer.text)


def inspect(
    url: str, gallery: str, clients: Sequence[Client], pictures: Pictures, rng: random.Random
) -> list[str]:
    """Compare a service with its clients' ledgers, and its searches with NumPy.

    Args:
        url: where it listens.
        gallery: the gallery that the clients changed.
        clients: all of them; none may be sending requests.
        pictures: what they uploaded.
        rng: picks queries.

    Returns:
        Every problem, in words.
    """
    with httpx.Client(base_url=url, timeout=60) as http:
        found = listed(http, gallery)
        problems: list[str] = []
        for client in clients:
            prefix = f"{client.name}/"
            own = {key: record for key, record in found.items() if key.startswith(prefix)}
            problems += client.ledger.settle(own)
        owners = {client.name for client in clients}
        strays = [key for key in found if key.split("/")[0] not in owners]
        problems += [f"{key}: belongs to no client" for key in strays]
        problems += _counts(http, gallery, found)
        problems += _pictures(http, gallery, found, rng)
        problems += search_problems(http, gallery, found, pictures, rng)
        camera = rng.choice(sorted(_cameras(found)) or ["none"])
        among = {key: record for key, record in found.items() if record.camera == camera}
        return problems + search_problems(http, gallery, among, pictures, rng, cameras=camera)


def listed(http: httpx.Client, gallery: str) -> dict[str, Record]:
    """Every crop that the service lists."""
    found: dict[str, Record] = {}
    query: dict[str, Any] = {"limit": 1000}
    while True:
        page = http.get(f"/galleries/{gallery}/crops", params=query).raise_for_status().json()
        for crop in page["crops"]:
            found[crop["crop_id"]] = Record(**{name: crop[name] for name in FIELDS})
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]


def _counts(http: httpx.Client, gallery: str, found: dict[str, Record]) -> list[str]:
    stats = http.get(f"/galleries/{gallery}").raise_for_status().json()
    identities = {record.identity for record in found.values()} - {None}
    expected = {
        "crops": len(found),
        "pictures": len(found),
        "identities": len(identities),
        "cameras": dict(_cameras(found)),
        "damaged": 0,
    }
    return [
        f"{name}: counted {stats[name]}, listed {value}"
        for name, value in expected.items()
        if stats[name] != value
    ]


def _pictures(
    http: httpx.Client, gallery: str, found: dict[str, Record], rng: random.Random
) -> list[str]:
    """Compare the stored pictures of a few crops with the uploads."""
    problems = []
    for crop_id in rng.sample(sorted(found), min(PICTURES, len(found))):
        answer = http.get(f"/galleries/{gallery}/pictures/{crop_id}")
        if hashlib.sha256(answer.content).hexdigest() != found[crop_id].digest:
            problems.append(f"{crop_id}: its picture differs from the upload")
    return problems


def _cameras(found: dict[str, Record]) -> Counter[str]:
    return Counter(record.camera for record in found.values() if record.camera is not None)


def search_problems(
    http: httpx.Client,
    gallery: str,
    found: dict[str, Record],
    pictures: Pictures,
    rng: random.Random,
    **fields: str,
) -> list[str]:
    """Search with a few pictures for every crop of a gallery or of a part of it.

    Args:
        http: a client of the service.
        gallery: its name.
        found: the crops that must be found.
        pictures: their pictures.
        rng: picks queries.
        **fields: further fields of the search form; they must select the crops of ``found``.

    Returns:
        Every difference from NumPy's ranking, in words.
    """
    numbers = rng.sample(range(len(pictures.files)), QUERIES)
    answer = http.post(
        "/search",
        files=[("images", ("q.png", pictures.files[number])) for number in numbers],
        data={
            "gallery": gallery,
            "top_k": MOST_MATCHES,
            "min_score": -1,
            "standardise": False,
            **fields,
        },
    )
    results = answer.raise_for_status().json()["results"]
    digests = [record.digest for record in found.values()]
    gallery_rows = pictures.embeddings_of(digests).astype(np.float64)
    queries = pictures.embeddings_of([pictures.digests[number] for number in numbers])
    scores = queries.astype(np.float64) @ gallery_rows.T
    return [
        f"search {fields} with picture {number}: {problem}"
        for number, result, row in zip(numbers, results, scores, strict=True)
        if (problem := compare(result["matches"], dict(zip(found, row, strict=True))))
    ]


def compare(matches: Sequence[dict[str, Any]], scores: dict[str, float]) -> str:
    """Compare a ranking with the exact scores of every crop that must be in it.

    Args:
        matches: as answered, best first.
        scores: exact cosine of each crop.

    Returns:
        The problem; an empty string if the ids are exact, the scores within 1e-6, and the order
        follows the scores.
    """
    ids = [match["crop_id"] for match in matches]
    if len(set(ids)) != len(ids) or set(ids) != scores.keys():
        missing, extra = scores.keys() - set(ids), set(ids) - scores.keys()
        return f"{len(ids)} matches, missing {sorted(missing)}, extra {sorted(extra)}"
    answered = np.array([match["score"] for match in matches])
    exact = np.array([scores[crop_id] for crop_id in ids])
    off = np.abs(answered - exact).max(initial=0.0)
    if off > TOLERANCE:
        return f"a score is off by {off:.2g}"
    falling = np.diff(exact).max(initial=0.0)
    return f"the order is off by {falling:.2g}" if falling > TOLERANCE else ""
