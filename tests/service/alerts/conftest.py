"""A service with known people, and what arrives at it."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import pytest
from waiting import wait_until

from service.testing import solid

_NUMBERS = count()


class Door:
    """A gallery whose new crops are judged, beside a gallery of known people.

    Colours are people: a crop of about the same colour shows the same person.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        number = next(_NUMBERS)
        self.known, self.name = f"known-{number}", f"door-{number}"
        for gallery in (self.known, self.name):
            service.create(gallery)
        for identity, colour in (("anna", (200, 20, 20)), ("ben", (20, 200, 20))):
            entry = {"crop_id": f"{identity}/1", "identity": identity}
            self.add(self.known, entry, colour)
        self.count = 0

    def add(self, gallery: str, entry: dict[str, Any], colour: tuple[int, int, int]) -> None:
        data = solid(colour, kind="PNG")
        assert self.service.add(gallery, [entry], data).status_code == 200

    def comes(self, colour: tuple[int, int, int], time: float, **fields: Any) -> str:
        """Somebody is seen by a camera; returns the crop's id."""
        self.count += 1
        crop_id = f"seen-{self.count}"
        red, green, blue = colour
        entry = {"crop_id": crop_id, "camera": "c1", "timestamp": time} | fields
        self.add(self.name, entry, (red, green, min(blue + self.count, 255)))
        return crop_id

    def watch(self, **body: Any) -> dict[str, Any]:
        answer = self.try_to_watch(**body)
        assert answer.status_code == 201, answer.text
        watch: dict[str, Any] = answer.json()
        return watch

    def try_to_watch(self, **body: Any) -> httpx.Response:
        answer: httpx.Response = self.service.http.post(
            f"/galleries/{self.name}/watches", json={"of": self.known} | body
        )
        return answer

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """Everything that was made of what has arrived so far, oldest first."""
        arrivals = self.service.parts.alerts.arrivals
        wait_until(lambda: not arrivals.galleries())
        answer = self.service.http.get(f"/galleries/{self.name}/events", params=query)
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["events"]))

    def seen(self, **query: Any) -> list[tuple[str, str | None]]:
        return [(event["crop_id"], event["identity"]) for event in self.events(**query)]


@pytest.fixture
def door(service: Any) -> Door:
    """Galleries of one test."""
    return Door(service)


@pytest.fixture
def make_door() -> type[Door]:
    """Makes galleries on any service."""
    return Door
