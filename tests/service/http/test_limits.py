"""What a request may cost, and what happens if many arrive at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from waiting import PATIENCE, always_set, wait_until

from service.testing import FakeEmbedder, encode, solid

CROP = solid((200, 20, 20))


@pytest.fixture(scope="module")
def strict(launch, tmp_path_factory):
    with launch(
        tmp_path_factory.mktemp("strict"),
        max_request_bytes=100_000,
        max_image_bytes=20_000,
        max_image_pixels=10_000,
        max_images=3,
    ) as service:
        yield service


def test_a_large_body_is_rejected_before_it_is_read(strict):
    answer = strict.search(("large.jpg", bytes(5_000_000)))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "100,000" in answer.json()["detail"]
    assert answer.headers["X-Request-ID"]


def test_a_body_without_length_is_rejected_while_it_streams(strict):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"--x\r\nContent-Disposition: form-data; name=images; filename=a\r\n\r\n"
        while sent < 150_000:
            sent += 10_000
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = strict.http.post("/search", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_false_content_length_does_not_help(strict):
    large = {"Content-Type": "application/json"}
    answer = strict.http.post("/galleries", content=b"[" * 200_000, headers=large)
    assert answer.status_code == 413


def test_too_many_images_are_rejected(strict):
    images = [(f"{n}.jpg", CROP) for n in range(4)]
    answer = strict.search(*images)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "4 images: at most 3" in answer.json()["detail"]
    assert strict.search(*images[:3]).status_code == 200


def test_a_large_image_affects_no_other(strict):
    bytes_of_noise = np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8)
    heavy, wide = encode(bytes_of_noise), solid((1, 2, 3), 101, 100)
    assert len(heavy) > 20_000
    answer = strict.search(("heavy", heavy), ("wide", wide), ("crop", CROP)).json()
    assert [entry["status"] for entry in answer["results"]] == ["error", "error", "unknown"]
    codes = [entry["error"]["code"] for entry in answer["results"][:2]]
    assert codes == ["image_too_large"] * 2
    alone = strict.search(("wide", wide))
    assert (alone.status_code, alone.json()["code"]) == (413, "image_too_large")


def test_thousands_of_parts_are_rejected(strict):
    fields = {f"field{n}": "1" for n in range(1500)}
    answer = strict.http.post("/search", data=fields, files={"images": ("a", CROP)})
    assert 400 <= answer.status_code < 500
    assert answer.headers["Content-Type"] == "application/problem+json"


class Gate:
    """Once closed, it holds the images that come to the network."""

    def __init__(self) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, _image: object) -> None:
        self.reached.set()
        assert self.open.wait(PATIENCE)

    def close(self) -> None:
        self.open.clear()
        self.reached.clear()


def test_a_full_queue_causes_503_and_recovers(start):
    gate = Gate()
    limits = {"max_batch": 1, "max_queue": 2, "max_images": 2, "max_queue_seconds": PATIENCE}
    with start(FakeEmbedder(fault=gate), **limits) as service:
        gate.close()
        with ThreadPoolExecutor(2) as callers, always_set(gate.open):
            first = callers.submit(service.search, ("a", CROP))
            assert gate.reached.wait(PATIENCE)
            second = callers.submit(service.search, ("b", CROP), ("c", CROP))
            stats = service.parts.shelf.running.batcher.stats
            wait_until(lambda: stats().queued == 2 or second.done())
            assert not second.done()
            with httpx.Client(base_url=service.url, timeout=PATIENCE) as other:
                refused = other.post("/search", files={"images": ("d", CROP)})
                alive = other.get("/livez")
            gate.open.set()
            assert first.result().status_code == 200
            assert second.result().status_code == 200
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert alive.status_code == 200
        assert service.search(("e", CROP)).status_code == 200


def test_too_many_concurrent_requests_are_rejected_except_probes(start):
    gate = Gate()
    with start(FakeEmbedder(fault=gate), max_requests=1) as service:
        gate.close()
        with (
            ThreadPoolExecutor(1) as callers,
            httpx.Client(base_url=service.url, timeout=PATIENCE) as other,
            always_set(gate.open),
        ):
            running = callers.submit(service.search, ("a", CROP))
            assert gate.reached.wait(PATIENCE)
            refused = other.get("/galleries")
            alive = other.get("/livez")
            gate.open.set()
            assert running.result().status_code == 200
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["Retry-After"] == "1"
            assert alive.status_code == 200
            assert other.get("/galleries").status_code == 200


def test_many_callers_at_once_get_their_own_answers(service, people):
    colours = [("red", (200, 20, 22)), ("green", (20, 200, 22)), ("blue", (20, 20, 202))] * 8

    def ask(case: tuple[str, tuple[int, int, int]]) -> bool:
        name, colour = case
        answer = service.search((name, solid(colour, kind="PNG")), gallery=people, top_k=1)
        return answer.json()["results"][0]["matches"][0]["identity"] == name

    with ThreadPoolExecutor(12) as callers:
        assert all(callers.map(ask, colours))


def test_an_upload_that_would_wait_too_long_is_rejected_before_its_form_is_read(start, caplog):
    gate = Gate()
    with (
        start(FakeEmbedder(fault=gate), max_batch=1, max_queue_seconds=PATIENCE) as service,
        ThreadPoolExecutor(3) as callers,
        always_set(gate.open),
    ):
        gate.close()
        batcher = service.parts.shelf.running.batcher
        callers.submit(service.search, ("a", CROP))
        assert gate.reached.wait(PATIENCE)
        callers.submit(service.search, ("b", CROP))
        wait_until(lambda: batcher.stats().queued == 1)
        batcher._pace.count(1000, 1000 * PATIENCE)  # as if the network were very slow
        head = b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n"
        head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        where = httpx.URL(service.url)
        with socket.create_connection((where.host, where.port), timeout=PATIENCE) as client:
            client.sendall(head)  # but not the body
            answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503")
        assert f"retry-after: {PATIENCE:.0f}\r\n".encode() in answer
        assert "1 requests rejected with 503 since the last line like this" in caplog.text
        assert service.http.get("/galleries").status_code == 200
        probe = callers.submit(service.http.get, "/readyz")
        gate.open.set()
        assert probe.result().status_code == 200


@pytest.fixture
def busy_decoder(start):
    """A service whose only decoder is busy until the event is set."""
    free = threading.Event()
    with start(decode_threads=1, max_queue_seconds=0.5) as service, always_set(free):
        service.parts.shelf.running.intake._decoders._pool.submit(free.wait, PATIENCE)
        yield service, free


def test_waiting_for_the_decoder_counts_as_waiting(busy_decoder):
    service, free = busy_decoder
    decoders = service.parts.shelf.running.intake._decoders
    with ThreadPoolExecutor(1) as callers, always_set(free):
        late = callers.submit(service.search, ("late", CROP))
        wait_until(lambda: decoders.coming == 1)
        time.sleep(0.6)
        free.set()
        answer = late.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "the image was not decoded within 0.5 s" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1
    wait_until(lambda: service.search(("next", CROP)).status_code == 200)


def test_an_image_that_would_wait_too_long_for_the_decoder_is_not_taken(busy_decoder):
    service, free = busy_decoder
    decoders = service.parts.shelf.running.intake._decoders
    decoders._pace.count(1, 2 * PATIENCE)  # as if images were very large
    with ThreadPoolExecutor(1) as callers, always_set(free):
        callers.submit(service.search, ("first", CROP), ("second", CROP))
        wait_until(lambda: decoders.coming == 2)
        answer = service.search(("third", CROP))
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "2 images are waiting: one more would wait" in answer.json()["detail"]


def test_a_path_of_several_methods_names_them_all(service):
    answer = service.http.request("OPTIONS", "/galleries/default")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, PATCH"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "\xff"}', 400),
        (b'{"name": ', 422),
        (b'{"name": "a", "join": 0}', 422),
        (b'{"name": "a", "keep_for": "60"}', 422),
        (b'{"name": "a", "keep_for": true}', 422),
        (b"[" * 20_000, 400),
        (b"[" * 100_000, 413),
    ],
)
def test_json_types_are_strict(service, body, status):
    headers = {"Content-Type": "application/json"}
    answer = service.http.post("/galleries", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
