"""No value that a client can choose creates a new series or label in the metrics."""

from __future__ import annotations

import random
import string
from itertools import product

import pytest

from service.access.rules import RULES
from service.metrics import Metrics
from service.testing import solid

CROP = solid((200, 20, 20))
KNOWN = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def series(service) -> set[str]:
    """Names and labels of all series in ``/metrics``."""
    service.http.get("/metrics")  # this request is counted, too
    lines = service.http.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def label_values(names: set[str], label: str) -> set[str]:
    found = (name.partition(f'{label}="') for name in names)
    return {value.partition('"')[0] for _, present, value in found if present}


def invented_methods(count: int) -> list[bytes]:
    letters = string.ascii_uppercase + string.ascii_lowercase + "-_!#$%&'*+.^`|~"
    dice = random.Random(0)
    names = {"".join(dice.choices(letters, k=dice.randint(1, 20))) for _ in range(count)}
    names |= {"get", "Get", "GET_", "CONNECT", "TRACE", "PROPFIND", "QUERY"}
    return [name.encode() for name in sorted(names - KNOWN)]


def ask(line, method: bytes, path: bytes, *headers: bytes, body: bytes = b"") -> int:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: localhost", *headers]
    lines.append(b"Content-Length: %d" % len(body))
    line.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    return answered(line, method)


def answered(line, method: bytes) -> int:
    """The status of the next answer. An answer to HEAD has no body, whatever its length says."""
    status, headers = line.head()
    if method != b"HEAD":
        line.body(headers)
    return status


def warm_up(service, line) -> None:
    """Cause every kind of answer once, so that later only new labels show."""
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"INVENTED"):
        ask(line, method, b"/nothing")
        ask(line, method, b"/galleries/default/crops/a")


@pytest.fixture(scope="module")
def counted(launch, tmp_path_factory):
    with launch(tmp_path_factory.mktemp("counted")) as service:
        yield service


def test_a_thousand_invented_methods_create_no_series(counted, dial):
    with dial(counted) as line:
        warm_up(counted, line)
        before = series(counted)
        for method in invented_methods(1000):
            assert ask(line, method, b"/galleries") in {405, 501}
    after = series(counted)
    assert after == before
    assert label_values(after, "method") <= KNOWN | {"other"}


def paths() -> list[bytes]:
    """Paths of every shape: long, encoded, normalised, below and next to the known routes."""
    dice = random.Random(1)
    letters = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@"
    words = ["".join(dice.choices(letters, k=dice.randint(1, 300))) for _ in range(400)]
    encoded = ["".join(f"%{ord(letter):02X}" for letter in word[:50]) for word in words[:200]]
    below = [f"/galleries/{word[:60]}/crops/{word}" for word in words[:150]]
    odd = ["/%", "/%00", "/%ff%fe", "/..%2f..", "//", "/a//b", "/?" + "a=b&" * 100, "/#", "/;x"]
    odd += [f"{path.replace('{', '%7B').replace('}', '%7D')}" for _, path in RULES]
    return [path.encode() for path in [*(f"/{w}" for w in words + encoded), *below, *odd]]


def test_a_thousand_paths_create_no_series(counted, dial):
    with dial(counted) as line:
        warm_up(counted, line)
        ask(line, b"GET", b"/galleries/x/crops/y")
        statuses = {ask(line, b"GET", path) for path in paths()}
        names = series(counted)
        for path in paths():
            ask(line, b"GET", path + b"x")
    assert 500 not in statuses
    assert label_values(names, "route") <= {path for _, path in RULES} | {"unknown"}
    assert {name for name in series(counted) - names if 'route="unknown"' in name} == set()


def test_no_combination_of_client_values_creates_new_labels(counted, dial):
    dice = random.Random(2)
    methods = [name.encode() for name in sorted(KNOWN)] + invented_methods(40)
    headers = [
        *(b"Origin: https://evil.example", b"Origin: null", b"Access-Control-Request-Method: X"),
        *(b"Content-Type: multipart/form-data; boundary=x", b"Content-Type: x/" + b"y" * 99),
        *(b"X-Request-ID: " + b"r" * 128, b"Authorization: Bearer reid_x_y", b"Range: bytes=9-1"),
        *(b"X-HTTP-Method-Override: INVENTED", b"Expect: nothing", b"If-None-Match: *"),
    ]
    targets = [path.decode() for path in dice.sample(paths(), 60)]
    targets += [path for _, path in RULES if path not in {"/docs", "/openapi.json", "/metrics"}]
    with dial(counted) as line:
        for method, target in dice.sample(list(product(methods, targets)), 1000):
            if method in {b"DELETE", b"POST"} and target == "/keys":
                continue
            path = target.replace("{", "%7B").replace("}", "%7D").encode()
            ask(line, method, path, *dice.sample(headers, 2), body=b"{}")
    names = series(counted)
    assert label_values(names, "method") <= KNOWN | {"other"}
    assert label_values(names, "route") <= {path for _, path in RULES} | {"unknown"}
    assert all(100 <= int(status) < 600 for status in label_values(names, "status"))
    assert label_values(names, "outcome") <= {"decoded", "failed"}
    assert label_values(names, "state") <= {"queued", "running"}


def test_preflights_create_no_series(launch, tmp_path, dial):
    with launch(tmp_path, cors_origins=["https://reid.example"]) as service, dial(service) as line:
        asked = [b"Access-Control-Request-Method: POST", b"Origin: https://reid.example"]
        ask(line, b"OPTIONS", b"/search", *asked)
        ask(line, b"OPTIONS", b"/search", asked[0], b"Origin: https://evil.example")
        before = series(service)
        for method in invented_methods(200):
            wish = b"Access-Control-Request-Method: " + method
            for origin in (asked[1], b"Origin: https://" + method.hex().encode()):
                ask(line, b"OPTIONS", b"/search", wish, origin)
        assert series(service) == before


def test_unknown_values_share_one_label():
    metrics = Metrics()
    for number in range(1000):
        name = f"invented {number}"
        metrics.count_request(name, name, number + 1000, 0.1)
        metrics.observe_stage(name, 0.1)
        metrics.count_failure(name)
        metrics.images.labels(name).inc()
        metrics.jobs.labels(name).set(1)
        metrics.provider.labels(name, name).set(1)
    text = metrics.text(galleries=False)
    assert b"invented" not in text
    assert len(text) < 20_000


class _Gallery:
    crops, identities, bytes_on_disk = 2, 1, 3

    def __init__(self, name: str) -> None:
        self.name = name


class _Store:
    def stats(self):
        return [_Gallery(f"g{number:05}") for number in range(5000)]


def test_galleries_beyond_a_thousand_are_added_up():
    metrics = Metrics()
    metrics.count_galleries(_Store())
    lines = metrics.text(galleries=True).decode().splitlines()
    crops = [line for line in lines if line.startswith("reid_gallery_crops{")]
    assert len(crops) == 1001
    assert 'reid_gallery_crops{gallery="(others)"} 8000.0' in crops
