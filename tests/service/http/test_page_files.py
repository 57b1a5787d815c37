"""The page's files, without a browser: complete, without other hosts, under one policy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from service.http.routes import page
from service.ingest import manifest_files, picture_files
from service.ingest.name_layouts import LAYOUTS

FILES = sorted(path for path in page.FOLDER.iterdir() if path.is_file())
REFERENCE = re.compile(r"""(?:src|href)="(web/[^"]+)"|from "\./([^"]+)";""")
OUTSIDE = re.compile(r"""https?://|["'(]//""")
NAMESPACE = "http://www.w3.org/2000/svg"


def references(path: Path) -> set[str]:
    found = REFERENCE.findall(path.read_text(encoding="utf-8"))
    return {tag or f"web/{module}" for tag, module in found}


def test_every_file_of_the_page_is_used_and_served(service):
    wanted = set().union(*map(references, FILES))
    served = {f"web/{path.name}" for path in FILES} - {"web/index.html"}
    assert wanted == served
    for name in sorted(wanted):
        answer = service.http.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in {
            "text/css",
            "text/javascript",
            "application/javascript",
            "image/svg+xml",
        }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_host_or_is_too_long(path):
    text = path.read_text(encoding="utf-8")
    assert not OUTSIDE.search(text.replace(NAMESPACE, ""))
    assert len(text.splitlines()) <= 300
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


@pytest.mark.parametrize("address", ["/", "/web/app.js"])
def test_page_and_files_carry_the_policy_with_200_and_304(service, address):
    fresh = service.http.get(address)
    again = service.http.get(address, headers={"If-None-Match": fresh.headers["etag"]})
    assert fresh.status_code == 200
    assert again.status_code == (200 if address == "/" else 304)
    for answer in (fresh, again):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' blob:;")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("address", ["/web/nothing.js", "/web/../app.py", "/web/%2e%2e/app.py"])
def test_nothing_else_of_the_package_is_served(service, address):
    assert service.http.get(address).status_code == 404


def test_the_page_and_the_service_know_the_same_names():
    text = (page.FOLDER / "naming.js").read_text(encoding="utf-8")
    lists = {
        name: set(json.loads(f"[{found.strip().rstrip(',')}]"))
        for name, found in re.findall(r"const ([A-Z]+) = \[([^\]]*)\];", text)
    }
    assert {f".{suffix}" for suffix in lists["PICTURES"]} == picture_files.SUFFIXES
    assert lists["LAYOUTS"] == set(LAYOUTS)
    assert f"/{manifest_files.RESEMBLING.pattern}/" in text
    for name in lists["GENERATED"]:
        assert picture_files.not_data(name) is not None
    source = Path(picture_files.__file__).read_text(encoding="utf-8")
    generated = source[source.index("_GENERATED = ") : source.index("@dataclass")]
    assert lists["GENERATED"] == set(map(json.loads, re.findall(r'"[^"]+"', generated)))
