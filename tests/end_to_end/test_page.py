"""The page at ``/`` in a real browser: search, add, erase, sign in, and keyboard use.

``PAGE_SCREENSHOTS=docs/images`` also writes the screenshots in the documentation.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image
from waiting import PATIENCE, wait_until

from service.embedding.onnx_embedder import OnnxEmbedder
from service.http.app import create_app
from service.http.server import bind, url_of
from service.model.manifest import read_manifest
from service.settings import Settings
from service.testing import FakeEmbedder
from training.synthetic.dataset import synthesize
from training.synthetic.options import SyntheticOptions

pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "hhcl-synthetic"
FRAME = ROOT / "docs/images/drawn-people.png"
PLACES = {"c1": "entrance", "c2": "lobby", "c3": "platform", "c4": "stairs"}
MORNING = 1_795_249_800  # 2026-11-21 08:30 UTC
PREFIX = "/people"


class Proxy:
    """A reverse proxy: serves an app under a prefix and nothing else."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"] if scope["path"].startswith(f"{PREFIX}/") else f"{PREFIX}/nowhere"
            scope = scope | {"path": path.removeprefix(PREFIX)}
        await self._app(scope, receive, send)


class Service:
    """A running service and how the tests talk to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=PATIENCE)

    def fill(self, gallery: str, files: list[Path]) -> str:
        """Create a gallery that keeps its pictures."""
        created = self.http.post("/galleries", json={"name": gallery, "store_crops": True})
        assert created.status_code == 201, created.text
        for start in range(0, len(files), 16):
            part = files[start : start + 16]
            images = [("images", (file.name, file.read_bytes())) for file in part]
            entries = json.dumps([entry(file) for file in part])
            answer = self.http.post(
                f"/galleries/{gallery}/crops", files=images, data={"crops": entries}
            )
            assert answer.status_code == 200, answer.text
        return gallery

    def count(self, gallery: str) -> int:
        return int(self.http.get(f"/galleries/{gallery}").json()["crops"])


@dataclass
class Visit:
    """An open page, with the warnings and errors that the browser reported."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def choose(self, *files: Path | dict[str, Any]) -> None:
        self.page.set_input_files("#search-form input[type=file]", list(files))

    def search(self, *files: Path | dict[str, Any]) -> None:
        self.choose(*files)
        self.page.click("#search-button")
        self.page.wait_for_selector("#results[aria-busy=false] .answer")

    def gallery(self, name: str) -> None:
        self.page.select_option("#gallery-picker", name)

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def check(self, *, expected: str | None = None) -> None:
        """Nothing failed, nothing came from another origin, nothing scrolls sideways."""
        unexpected = [one for one in self.complaints if expected is None or expected not in one]
        assert unexpected == []
        assert [one for one in self.requests if not one.startswith((self.url, "blob:"))] == []
        width = self.page.viewport_size["width"]
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width
        self.page.close()


def entry(file: Path) -> dict[str, Any]:
    """Metadata of a drawn crop: people walk from camera to camera."""
    found = re.match(r"(\d+)_c(\d)s1_(\d+)", file.name)
    assert found
    who, camera, frame = map(int, found.groups())
    walk = who * 411 % 5400 + camera * (who % 3 + 1) % 5 * 340
    return {
        "crop_id": file.name,
        "identity": f"P-{who:03d}",
        "camera": PLACES[f"c{camera}"],
        "timestamp": MORNING + walk + frame * 25,
    }


@contextmanager
def serving(
    data: Path, embedder: Any = None, *, below: bool = False, **settings: Any
) -> Iterator[Service]:
    """Run a service in a thread while the block runs."""
    settings = {"max_queue_seconds": 30.0, "requests_per_minute": 6000} | settings
    app: Any = create_app(
        Settings(data=data, device="cpu", **settings), embedder=embedder or FakeEmbedder()
    )
    with bind("127.0.0.1", 0) as listener:
        config = uvicorn.Config(Proxy(app) if below else app, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        service = Service(url_of(listener) + (PREFIX if below else ""))
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the service did not start"
            yield service
        finally:
            service.http.close()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Drawn people on four cameras."""
    folder = tmp_path_factory.mktemp("drawn") / "people"
    options = SyntheticOptions(identities=8, cameras=4, crops=2, train_share=0.1)
    synthesize(folder, options)
    return folder


@pytest.fixture(scope="module")
def crops(people) -> list[Path]:
    return sorted((people / "bounding_box_test").iterdir())


@pytest.fixture(scope="module")
def query(people) -> Path:
    return people / "query" / "0005_c1s1_000001_00.jpg"


@pytest.fixture(scope="module")
def station(tmp_path_factory, crops) -> Iterator[Service]:
    """A service with the shipped model, for tests that only read."""
    with serving(tmp_path_factory.mktemp("station"), OnnxEmbedder(MODEL, device="cpu")) as service:
        service.fill("station", crops)
        yield service


@pytest.fixture(scope="module")
def depot(tmp_path_factory) -> Iterator[Service]:
    """A service without weights; each test that writes uses its own gallery."""
    with serving(tmp_path_factory.mktemp("depot")) as service:
        yield service


def visit(browser: Any, service: Service, view: str = "", **context: Any) -> Visit:
    settings = {"timezone_id": "UTC", "locale": "en-GB", "viewport": {"width": 1280, "height": 900}}
    visited = Visit(browser.new_page(**(settings | context)), service.url)
    complaints, page = visited.complaints, visited.page
    page.set_default_timeout(1000 * PATIENCE)
    page.on("console", lambda m: m.type in {"error", "warning"} and complaints.append(m.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: visited.requests.append(request.url))
    page.goto(f"{service.url}/{view}", wait_until="networkidle")
    return visited


def violations(page: Any) -> list[str]:
    """Accessibility violations found by axe-core, each with an example."""
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_search_with_a_file_and_then_with_a_found_crop(chromium, station, query, scheme, width):
    visited = visit(
        chromium, station, viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    page = visited.page
    visited.gallery("station")
    visited.search(query)
    assert visited.texts(".crop h3")[0] == "P-005"
    scores = [float(text.split()[-1]) for text in page.locator(".crop .score").all_text_contents()]
    assert len(scores) > 4
    assert scores == sorted(scores, reverse=True)
    # In a long list no probability of one pair is shown, but whether the score passes.
    assert page.locator(".crop .certainty strong").first.text_content() == "match"
    assert page.locator(".timeline .mark").count() == len(scores)
    assert page.locator(".timeline .lane").count() == len(PLACES)
    page.wait_for_function("() => document.querySelector('.crop .picture img')?.naturalWidth > 0")
    assert page.locator(".crop .picture img").first.get_attribute("src").startswith("blob:")
    assert page.locator(".query-list li").count() == 1
    assert violations(page) == []

    found = page.locator(".crop").nth(1).get_attribute("data-crop")
    page.locator(".crop .open").nth(1).click()
    page.wait_for_function(
        "name => document.querySelector('.asked .hint')?.textContent === name", arg=found
    )
    assert visited.texts(".query-list .name") == [found]
    assert found not in [one.get_attribute("data-crop") for one in page.locator(".crop").all()]
    visited.check()


def test_a_search_sends_the_chosen_options(chromium, station, query):
    visited = visit(chromium, station)
    page = visited.page
    visited.gallery("station")
    page.get_by_role("checkbox", name="lobby").check()
    page.get_by_text("Time and more options").click()
    page.get_by_label("From", exact=True).fill("2026-11-21T08:40:00")
    page.get_by_label("Show the closest, even below the threshold").check()
    page.get_by_label("Group by identity").select_option("mean")
    page.get_by_label("Re-rank").check()
    page.get_by_label("Maximum results").fill("5")
    page.evaluate(
        """() => {
            window.sent = [];
            const append = FormData.prototype.append;
            FormData.prototype.append = function (name, value, ...file) {
                if (typeof value !== "object") window.sent.push([name, String(value)]);
                return append.call(this, name, value, ...file);
            };
        }"""
    )
    visited.search(query)
    assert dict(page.evaluate("window.sent")) == {
        "gallery": "station",
        "cameras": "lobby",
        "since": "1795250400",
        "min_score": "-1",
        "group_by": "identity",
        "identity_score": "mean",
        "rerank": "true",
        "top_k": "5",
    }
    assert page.locator(".crop .certainty strong").first.text_content().endswith("%")
    names = visited.texts(".crop h3")
    assert 0 < len(names) <= 5
    assert len(set(names)) == len(names)
    assert {text.split("\n")[0] for text in visited.texts(".crop .facts > p:first-of-type")} == {
        "lobby"
    }
    visited.check()


def test_the_page_explains_when_nobody_matches(chromium, station, query):
    visited = visit(chromium, station)
    page = visited.page
    visited.gallery("station")
    slider = page.get_by_label("Minimum score")
    calibration = read_manifest(MODEL).calibration
    assert calibration is not None
    assert slider.input_value() == f"{calibration.threshold:.2f}"
    assert "Default threshold" in page.locator("#options").inner_text()
    slider.focus()
    page.keyboard.press("End")
    assert "probability" in page.locator("#options").inner_text()
    visited.search(query)
    assert visited.texts(".answer h2") == ["Unknown person"]
    told = page.locator(".answer .verdict").inner_text()
    assert told.startswith("No match above the threshold of 1.00. The closest crop scored 0.")
    page.get_by_role("button", name="Show the closest").click()
    page.wait_for_selector(".crop .facts")
    assert page.get_by_label("Show the closest, even below the threshold").is_checked()
    visited.check()


def test_a_text_file_gets_a_clear_error_and_other_pictures_are_searched(chromium, station, query):
    visited = visit(chromium, station)
    page = visited.page
    visited.gallery("station")
    note = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"no picture at all"}
    visited.choose(note)
    page.click("#search-button")
    alert = page.locator("#alerts .notice")
    alert.wait_for()
    assert "Invalid image" in alert.inner_text()
    alert.get_by_role("button", name="Dismiss").click()
    assert page.locator("#alerts .notice").count() == 0
    visited.search(query)
    titles = visited.texts(".answer h2")
    assert titles[0] == "This picture cannot be read"
    assert "match" in titles[1]
    page.get_by_role("button", name="Remove note.txt").click()
    assert visited.texts(".query-list .name") == [query.name]
    visited.check(expected="status of 422")


def test_a_frame_is_dropped_and_a_person_on_it_clicked(chromium, station):
    visited = visit(chromium, station)
    page = visited.page
    visited.gallery("station")
    assert "whole frames" in page.locator("#query .drop").inner_text()
    visited.choose(FRAME)
    page.wait_for_selector("dialog .marker")
    (found,) = station.http.post("/detect", files={"images": FRAME.read_bytes()}).json()["results"]
    markers = page.locator("dialog .marker")
    assert markers.count() == len(found["persons"]) > 1
    picture = page.locator("dialog .frame").bounding_box()
    second, box = markers.nth(1).bounding_box(), found["persons"][1]["box"]
    scale = picture["width"] / found["width"]
    assert second["x"] - picture["x"] == pytest.approx(scale * box["x"], abs=1)
    assert second["height"] == pytest.approx(scale * box["height"], abs=1)
    assert violations(page) == []
    markers.nth(1).click()
    page.wait_for_selector("#results[aria-busy=false] .answer")
    assert page.locator("dialog").count() == 0
    assert visited.texts(".query-list .name") == [f"{FRAME.name}, person 2"]
    size = "() => { const image = document.querySelector('.query-list img'); return "
    shown = page.evaluate(f"{size}[image.naturalWidth, image.naturalHeight]; }}")
    left, top = math.floor(box["x"]), math.floor(box["y"])
    right, bottom = (math.ceil(box[a] + box[b]) for a, b in (("x", "width"), ("y", "height")))
    assert shown == [right - left, bottom - top]
    page.get_by_role("button", name=f"People on {FRAME.name}").click()
    page.get_by_role("button", name="Search with the whole picture").click()
    page.wait_for_function(
        "name => document.querySelector('.query-list .name').textContent === name", arg=FRAME.name
    )
    page.wait_for_selector("#results[aria-busy=false] .answer")
    visited.check()


def test_pictures_are_pasted_and_dropped(chromium, station, query):
    visited = visit(chromium, station)
    page = visited.page
    give = """([bytes, kind]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${kind}.jpg`, { type: "image/jpeg" }));
        const target = kind === "paste" ? document : document.querySelector("#query .drop");
        const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        target.dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(give, [list(query.read_bytes()), kind])
    page.wait_for_function("() => document.querySelectorAll('.query-list img').length === 2")
    assert visited.texts(".query-list .name") == ["paste.jpg", "drop.jpg"]
    visited.gallery("station")
    page.get_by_text("Time and more options").click()
    page.get_by_label("All pictures show one person").check()
    page.click("#search-button")
    page.wait_for_selector("#results[aria-busy=false] .answer")
    assert page.locator(".answer").count() == 1
    visited.check()


def test_everything_works_by_keyboard(chromium, station, query):
    visited = visit(chromium, station)
    page = visited.page
    visited.gallery("station")
    page.on("filechooser", lambda chooser: chooser.set_files(query))
    page.evaluate("document.activeElement.blur()")
    keys = page.keyboard
    keys.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    keys.press("Enter")
    keys.press("Tab")
    assert focused(page) == "Choose files"
    keys.press("Enter")
    page.wait_for_selector(".query-list li")
    tab_to(page, "Search")
    keys.press("Enter")
    page.wait_for_selector("#results[aria-busy=false] .answer")
    keys.press("Tab")
    assert focused(page).startswith("Rank ")
    assert page.locator(".tip").is_visible()
    first = focused(page)
    keys.press("ArrowRight")
    assert focused(page) != first
    keys.press("Enter")
    assert focused(page).endswith("Search with this crop")
    crop = page.evaluate("document.activeElement.closest('.crop').dataset.crop")
    keys.press("Enter")
    page.wait_for_function(
        "name => document.querySelector('.asked .hint')?.textContent === name", arg=crop
    )
    visited.check()


def focused(page: Any) -> str:
    """The name of the focused element, whose focus must be visible."""
    name, outline = page.evaluate(
        """() => {
            const one = document.activeElement;
            const target = one.querySelector?.(".target") ?? one;
            const drawn = getComputedStyle(one).outlineStyle !== "none"
                || getComputedStyle(target).stroke !== "none"
                || getComputedStyle(one.nextElementSibling ?? one).boxShadow !== "none";
            return [one.getAttribute("aria-label") ?? one.textContent, drawn];
        }"""
    )
    assert outline, f"the focus on {name} is not visible"
    return str(name).strip()


def tab_to(page: Any, name: str) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"no {name} within 20 steps")


def test_browse_a_gallery_and_erase_crops(chromium, depot, crops):
    gallery = depot.fill("erasing", crops[:24])
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery(gallery)
    page.wait_for_function("() => document.querySelectorAll('#browse .crop').length === 24")
    assert violations(page) == []
    boxes = page.locator("#browse .crop input[data-pick]")
    for place in range(3):
        boxes.nth(place).check()
    assert "3 crops selected" in page.locator("#selection").inner_text()

    page.get_by_role("button", name="Erase…").last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Erase permanently").wait_for()
    assert "Crops\n3" in dialog.locator(".receipt").inner_text()
    assert "Stored pictures\n3" in dialog.locator(".receipt").inner_text()
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert depot.count(gallery) == 24, "a preview erases nothing"

    page.get_by_role("button", name="Erase…").last.click()
    page.get_by_label("All crops from some cameras").check()
    dialog.get_by_role("checkbox", name="lobby").check()
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Erase permanently").wait_for()
    page.get_by_label("The 3 selected crops").check()
    assert dialog.locator(".receipt").inner_text() == "", "a different choice needs a new preview"
    dialog.get_by_role("button", name="Preview").click()
    dialog.get_by_role("button", name="Erase permanently").click()
    dialog.wait_for(state="detached")
    page.wait_for_function("() => document.querySelectorAll('#browse .crop').length === 21")
    assert "3 crops erased" in page.locator("#status").inner_text()
    assert depot.count(gallery) == 21
    visited.check()


def test_name_the_person_on_crops_and_merge_identities(chromium, depot, crops):
    gallery = depot.fill("labelling", crops[:16])
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery(gallery)
    page.wait_for_function("() => document.querySelectorAll('#browse .crop').length === 16")
    page.locator("#browse .crop input[data-pick]").nth(0).check()
    page.locator("#browse .crop input[data-pick]").nth(1).check()
    page.get_by_role("button", name="Name person…").click()
    page.get_by_label("Identity", exact=True).last.fill("Ada")
    page.get_by_role("button", name="Save").click()
    page.wait_for_function(
        "() => document.querySelector('#browse').innerText.match(/^Ada\\b/gm)?.length === 2"
    )
    shown = {"identities": "Ada"}
    listed = depot.http.get(f"/galleries/{gallery}/crops", params=shown).json()["crops"]
    assert [crop["origin"] for crop in listed] == ["hand", "hand"]

    # Two identities of one person are merged, with all their crops.
    picks = page.locator("#browse .crop input[data-pick]")
    picks.nth(0).check()
    picks.nth(15).check()
    page.get_by_role("button", name="Name person…").click()
    assert page.get_by_label("Identity", exact=True).last.input_value() == "Ada"
    page.get_by_label("they are one person").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").wait_for(state="detached")
    rest = depot.http.get(f"/galleries/{gallery}/crops", params={"identities": "P-005"}).json()
    assert rest["crops"] == []
    listed = depot.http.get(f"/galleries/{gallery}/crops", params=shown).json()["crops"]
    assert len(listed) == 2 + 4

    picks.nth(0).check()
    picks.nth(1).check()
    page.get_by_role("button", name="Search with these").click()
    page.wait_for_selector("#results[aria-busy=false] .answer")
    assert page.locator(".query-list li").count() == page.locator(".answer").count() == 2
    visited.check()


def test_create_a_gallery_and_confirm_before_pictures_are_erased(chromium, depot, crops):
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    page.get_by_role("button", name="New gallery…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("default")
    dialog.get_by_role("button", name="Create").click()
    assert "default" in dialog.get_by_role("alert").inner_text()
    dialog.get_by_label("Name").fill("made-here")
    dialog.get_by_label("Erase crops after (days)").fill("30")
    dialog.get_by_role("button", name="Create").click()
    dialog.wait_for(state="detached")
    assert page.locator("#gallery-picker").input_value() == "made-here"
    made = depot.http.get("/galleries/made-here").json()
    assert (made["store_crops"], made["keep_for"]) == (True, 30 * 86400)
    files = [("images", (crops[0].name, crops[0].read_bytes()))]
    form = {"crops": json.dumps([{"crop_id": "one"}])}
    assert depot.http.post("/galleries/made-here/crops", files=files, data=form).status_code == 200
    page.reload(wait_until="networkidle")
    page.get_by_role("button", name="Settings…").click()
    dialog.get_by_label("Store pictures").uncheck()
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_text("This permanently erases 1 stored picture.").wait_for()
    assert depot.http.get("/galleries/made-here").json()["pictures"] == 1
    dialog.get_by_role("button", name="Erase and save").click()
    dialog.wait_for(state="detached")
    assert depot.http.get("/galleries/made-here").json()["pictures"] == 0
    visited.check(expected="status of 409")


def test_a_shorter_retention_asks_before_it_erases(chromium, depot, crops):
    depot.fill("brief", [])
    files = [("images", (file.name, file.read_bytes())) for file in crops[:3]]
    form = {"crops": json.dumps([{"crop_id": f"{n}", "timestamp": 1e9} for n in range(3)])}
    assert depot.http.post("/galleries/brief/crops", files=files, data=form).status_code == 200
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery("brief")
    page.get_by_role("button", name="Settings…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Erase crops after (days)").fill("30")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_text("This permanently erases 3 crops from").wait_for()
    assert depot.http.get("/galleries/brief").json()["keep_for"] is None
    dialog.get_by_label("Erase crops after (days)").fill("29")
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        dialog.get_by_role("button", name="Erase and save").click()
    # A different value asks again.
    assert depot.http.get("/galleries/brief").json()["keep_for"] is None
    dialog.get_by_role("button", name="Erase and save").click()
    dialog.wait_for(state="detached")
    assert depot.http.get("/galleries/brief").json()["keep_for"] == 29 * 86400
    visited.check()


def test_single_pictures_are_added(chromium, depot, crops):
    depot.fill("adding", [])
    visited = visit(chromium, depot, "#add")
    page = visited.page
    visited.gallery("adding")
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}
    given = [
        {"name": file.name, "mimeType": "image/jpeg", "buffer": file.read_bytes()}
        for file in crops[:20]
    ]
    page.set_input_files("#upload input[type=file]:not([webkitdirectory])", [*given, broken])
    assert page.locator("#upload h2").inner_text().startswith("21 pictures")
    assert violations(page) == []
    page.get_by_role("button", name="Add to adding").click()
    page.get_by_text("1 picture could not be added").wait_for()
    assert depot.count("adding") == 20
    first = depot.http.get("/galleries/adding/crops", params={"limit": 1}).json()["crops"][0]
    assert (first["identity"], first["camera"]) == ("0002", "c1")
    visited.check()


def test_a_folder_is_added_without_hidden_and_generated_files(chromium, depot, crops, tmp_path):
    depot.fill("folder", [])
    for name in (
        "0000_c1_1.jpg",
        "0000_c1s1_000002_00.jpg",
        "sub/0007_c2s1_000003_00.jfif",
        ".ipynb_checkpoints/0001_c1s1_000004_00.jpg",
        "@eaDir/0001_c1s1_000005_00.jpg",
    ):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(crops[0].read_bytes())
    visited = visit(chromium, depot, "#add")
    page = visited.page
    visited.gallery("folder")
    page.set_input_files("#upload input[webkitdirectory]", tmp_path / "people")
    assert page.locator("#upload h2").inner_text().startswith("3 pictures")
    page.get_by_text("2 files skipped, such as").wait_for()
    page.get_by_role("button", name="Add to folder").click()
    page.get_by_text("3 crops added").wait_for()
    listed = depot.http.get("/galleries/folder/crops").json()["crops"]
    assert {crop["crop_id"].partition("/")[2]: crop["identity"] for crop in listed} == {
        "0000_c1_1.jpg": "0000",
        "0000_c1s1_000002_00.jpg": None,
        "sub/0007_c2s1_000003_00.jfif": "0007",
    }
    visited.check()


def test_an_archive_uses_a_layout_and_reports_names_that_tell_nothing(chromium, depot, crops):
    depot.fill("mars", [])
    visited = visit(chromium, depot, "#add")
    page = visited.page
    visited.gallery("mars")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("0001C1T0001F001.jpg", crops[0].read_bytes())
    given = {"name": "a.zip", "mimeType": "application/x-zip-compressed"}
    given |= {"buffer": buffer.getvalue()}
    chooser = "#upload input[type=file]:not([webkitdirectory])"
    page.set_input_files(chooser, given)
    page.get_by_role("button", name="Add to mars").click()
    page.get_by_text("1 file has neither identity nor camera").wait_for()
    page.set_input_files(chooser, given)
    page.get_by_label("Or a built-in layout").select_option("mars")
    assert violations(page) == []
    page.get_by_role("button", name="Add to mars").click()
    page.locator("#jobs .job", has_text="1 replaced").wait_for()
    crop = depot.http.get("/galleries/mars/crops/0001C1T0001F001.jpg").json()
    assert (crop["identity"], crop["camera"]) == ("0001", "C1")
    visited.check()


def test_crops_are_grouped_by_person(chromium, depot, crops):
    depot.fill("people", [])
    files = [("images", (file.name, file.read_bytes())) for file in crops[:16]]
    entries = [{"crop_id": file.name, "camera": entry(file)["camera"]} for file in crops[:16]]
    form = {"crops": json.dumps(entries)}
    assert depot.http.post("/galleries/people/crops", files=files, data=form).status_code == 200
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery("people")
    page.get_by_role("button", name="Group by person…").click()
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#jobs .state.done")
    assert "Group by person" in page.locator("#jobs .job").inner_text()
    page.get_by_role("link", name="Gallery").click()
    page.get_by_role("link", name="People").click()
    page.wait_for_selector("#browse .crop a")
    listed = depot.http.get("/galleries/people/identities").json()["identities"]
    assert visited.texts("#browse h3") == [one["identity"] for one in listed]
    assert violations(page) == []
    page.locator("#browse .crop a").first.click()
    page.wait_for_selector("#browse .crop button")
    assert page.locator("#browse .crop").count() == listed[0]["crops"]
    visited.check()


def archive(files: list[Path], copies: int, broken: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for copy in range(1, copies + 1):
            for file in files:
                made.write(file, f"{copy}/{file.name}")
        made.writestr("broken.jpg", broken)
    return buffer.getvalue()


def test_an_archive_import_shows_its_progress(chromium, tmp_path, crops):
    with serving(tmp_path, FakeEmbedder(delay=0.25)) as service:
        service.fill("importing", [])
        visited = visit(chromium, service, "#add")
        page = visited.page
        visited.gallery("importing")
        given = archive(crops, 6, b"not a picture")
        page.set_input_files(
            "#upload input[type=file]:not([webkitdirectory])",
            [{"name": "crops.zip", "mimeType": "application/zip", "buffer": given}],
        )
        page.evaluate("""() => {
            window.shares = [];
            new MutationObserver(() => {
                const bar = document.querySelector("#jobs progress");
                if (bar) window.shares.push(bar.value);
            }).observe(document.getElementById("jobs"),
                { subtree: true, childList: true, attributes: true });
        }""")
        page.get_by_role("button", name="Add to importing").click()
        page.wait_for_selector("#jobs .state.done", timeout=1000 * PATIENCE)
        shares = page.evaluate("window.shares")
        assert shares == sorted(shares)
        assert any(0 < share < 1 for share in shares), shares
        assert f"{6 * len(crops)} created" in page.locator("#jobs .job").inner_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download 1 error").click()
        lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
        assert "broken.jpg" in json.loads(lines[0])["item"]
        assert service.count("importing") == 6 * len(crops)
        given = archive(crops, 12, b"not a picture")
        page.set_input_files(
            "#upload input[type=file]:not([webkitdirectory])",
            [{"name": "more.zip", "mimeType": "application/zip", "buffer": given}],
        )
        page.get_by_label("Pattern for paths").fill(r"(?P<camera>\d+)/(?P<identity>\d+)_")
        page.get_by_role("button", name="Add to importing").click()
        page.locator("#jobs .job").first.get_by_role("button", name="Cancel").click()
        page.wait_for_selector("#jobs .state.cancelled")
        assert violations(page) == []
        visited.check()


def test_a_refused_key_shows_why_and_a_valid_one_opens_the_page(chromium, tmp_path, query, crops):
    with serving(tmp_path) as service:
        service.fill("guarded", crops[:8])
        good = service.http.post("/keys", json={"label": "page", "scope": "admin"}).json()["key"]
        visited = visit(chromium, service)
        page = visited.page
        dialog = page.get_by_role("dialog")
        dialog.wait_for()
        assert violations(page) == []
        page.get_by_label("Key").fill("reid_wrong")
        dialog.get_by_role("button", name="Sign in").click()
        dialog.get_by_role("alert").get_by_text("This key is not valid").wait_for()
        page.get_by_label("Key").fill(good)
        dialog.get_by_role("button", name="Sign in").click()
        dialog.wait_for(state="detached")
        visited.gallery("guarded")
        visited.search(query)
        page.wait_for_function(
            "() => document.querySelector('.crop .picture img')?.naturalWidth > 0"
        )
        secret = "Object.values(localStorage).concat(document.cookie).join('')"
        assert page.evaluate(secret) == ""

        service.http.headers["Authorization"] = f"Bearer {good}"
        who = service.http.get("/whoami").json()["key_id"]
        wanted = {"label": "guard", "scope": "search", "galleries": ["guarded"]}
        narrow = service.http.post("/keys", json=wanted).json()["key"]
        assert service.http.delete(f"/keys/{who}").status_code == 200
        page.click("#search-button")
        dialog.get_by_text("revoked").wait_for()
        page.get_by_label("Key").fill(narrow)
        dialog.get_by_role("button", name="Sign in").click()
        dialog.wait_for(state="detached")
        page.get_by_role("link", name="Gallery").click()
        page.wait_for_selector("#browse .crop")
        assert not page.get_by_role("link", name="Add").is_visible()
        assert page.get_by_role("button", name="Erase…").count() == 0
        assert page.get_by_role("button", name="New gallery…").count() == 0
        page.get_by_role("link", name="Search").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("Sign in first").wait_for()
        page.get_by_role("link", name="Gallery").click()
        assert page.locator(".crop").count() == 0, "crops shown by the key are gone"
        assert narrow not in page.evaluate("Object.values(sessionStorage).join('')")
        visited.check(expected="status of 401")


HOSTILE = '<img src=x onerror=alert(1)> & "quotes" %2F ?#&.jpg'


def test_names_are_shown_as_text_whatever_they_contain(chromium, depot, crops):
    gallery = depot.fill("hostile", [])
    files = [("images", ("one.jpg", crops[0].read_bytes()))] * 3
    entries = [
        {
            "crop_id": f"{place}/{HOSTILE}",
            "identity": HOSTILE,
            "camera": HOSTILE,
            "timestamp": MORNING + place,
        }
        for place in range(3)
    ]
    answer = depot.http.post(
        f"/galleries/{gallery}/crops", files=files, data={"crops": json.dumps(entries)}
    )
    assert answer.status_code == 200
    visited = visit(
        chromium, depot, "#gallery", color_scheme="dark", viewport={"width": 390, "height": 844}
    )
    page = visited.page
    visited.gallery(gallery)
    page.wait_for_function("() => document.querySelector('.crop .picture img')?.naturalWidth > 0")
    assert visited.texts("#browse h3") == [HOSTILE] * 3
    assert violations(page) == []
    page.locator(".crop .open").first.click()
    page.wait_for_selector(".timeline .mark")
    assert page.locator("#results .crop").count() == 2
    assert violations(page) == []
    visited.check()


def test_a_comma_is_part_of_a_name(chromium, depot, crops):
    gallery = depot.fill("commas", [])
    names = ["Doe, Jane", "Doe", "Jane"]
    entries = [
        {"crop_id": f"crop-{place}", "identity": name, "camera": f"at {name}"}
        for place, name in enumerate(names)
    ]
    files = [("images", (f"{place}.jpg", crops[place].read_bytes())) for place in range(3)]
    answer = depot.http.post(
        f"/galleries/{gallery}/crops", files=files, data={"crops": json.dumps(entries)}
    )
    assert answer.status_code == 200
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery(gallery)
    page.locator("#browse summary").click()
    shown = "n => document.querySelectorAll('#browse .crop').length === n"
    for name in names:
        page.get_by_label("Identity", exact=True).fill(name)
        page.get_by_role("button", name="Show", exact=True).click()
        page.wait_for_function(shown, arg=1)
        page.wait_for_function(
            "name => document.querySelector('#browse h3')?.textContent === name", arg=name
        )
    page.get_by_label("Identity", exact=True).fill("")
    page.get_by_role("checkbox", name="at Doe, Jane").check()
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_function(
        "name => document.querySelector('#browse h3')?.textContent === name", arg="Doe, Jane"
    )
    page.wait_for_function(shown, arg=1)

    page.goto(f"{visited.url}/#search")
    page.get_by_role("checkbox", name="at Doe, Jane").first.check()
    page.get_by_label("Show the closest, even below the threshold").check()
    visited.search(crops[0])
    assert visited.texts("#results .crop h3") == ["Doe, Jane"]
    assert visited.texts("#results .considered") == ["Compared with 1 crop"]
    visited.check()


def test_the_page_shows_warnings_about_a_filter(chromium, depot, crops):
    gallery = depot.fill("odd", crops[:6])
    visited = visit(chromium, depot, "#gallery")
    page = visited.page
    visited.gallery(gallery)
    page.locator("#browse summary").click()
    page.get_by_label("Identity", exact=True).fill("Nobody, Jane")
    page.get_by_label("Show", exact=True).select_option("true")
    page.get_by_label("Crop ID starts with").fill("no such id")
    page.get_by_role("button", name="Show", exact=True).click()
    page.locator("#browse .warnings").wait_for()
    said = page.locator("#browse .warnings").inner_text()
    assert "No crop of gallery 'odd' has the identity 'Nobody, Jane'." in said
    assert "no crop whose id begins with 'no such id'" in said
    assert violations(page) == []

    page.goto(f"{visited.url}/#search")
    page.get_by_text("Time and more options").click()
    page.get_by_label("From").first.fill("2026-11-22T08:40:00")
    page.get_by_label("Until").first.fill("2026-11-21T08:40:00")
    visited.search(crops[0])
    assert (
        "since (2026-11-22T08:40:00+00:00) must be before until"
        in page.locator("#results .warnings").inner_text()
    )
    assert visited.texts("#results .considered") == ["Compared with 0 crops"]
    assert violations(page) == []
    visited.check()


def test_events_are_shown_as_they_come(chromium, depot, crops):
    gallery = depot.fill("porch", crops[:1])
    body = {"watch_for": "gallery", "min_score": -1.0, "quiet_seconds": 0}
    assert depot.http.post(f"/galleries/{gallery}/watches", json=body).status_code == 201
    visited = visit(chromium, depot)
    page = visited.page
    visited.gallery(gallery)
    page.get_by_role("link", name="Events").click()
    page.wait_for_selector("#events .empty")
    for place, file in enumerate(crops[1:3], start=1):
        data = {"camera": "<i>porch</i>", "timestamp": MORNING + place}
        path = f"/galleries/{gallery}/crops/visit-{place}"
        files = {"image": (file.name, file.read_bytes())}
        assert depot.http.put(path, files=files, data=data).is_success
        page.wait_for_selector(f"#events li:first-child[data-crop=visit-{place}]")
    assert visited.texts("#events .facts p:not(.when)")[0].startswith("<i>porch</i>")
    page.wait_for_function("() => document.querySelector('#events .picture img')?.naturalWidth > 0")
    assert violations(page) == []
    page.locator("#events .open").first.click()
    page.wait_for_selector("#view-search:not([hidden])")
    visited.check()


def test_the_page_works_under_a_prefix_and_obeys_its_policy(chromium, tmp_path, query, crops):
    with serving(tmp_path, below=True) as service:
        service.fill("deep", crops[:8])
        visited = visit(chromium, service)
        visited.gallery("deep")
        visited.search(query)
        visited.page.wait_for_function(
            "() => document.querySelector('.crop .picture img')?.naturalWidth > 0"
        )
        headers = service.http.get("/").headers
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src")
        assert headers["x-content-type-options"] == "nosniff"
        inline = re.compile(r"<style|style=|<script(?![^>]*src=)|\son\w+=", re.IGNORECASE)
        assert not inline.search(service.http.get("/").text)
        visited.check()


@pytest.mark.on_request("PAGE_SCREENSHOTS")  # the folder to write to
@pytest.mark.parametrize(
    ("name", "scheme", "width", "height"),
    [("light", "light", 1280, 980), ("dark", "dark", 1280, 980), ("phone", "dark", 390, 844)],
)
def test_draw_the_screenshots(chromium, tmp_path, name, scheme, width, height):
    folder = Path(os.environ["PAGE_SCREENSHOTS"])
    drawn = tmp_path / "people"
    options = SyntheticOptions(
        identities=14, cameras=4, crops=3, train_share=0.1, height=256, width=128
    )
    synthesize(drawn, options)
    with serving(tmp_path / "data", OnnxEmbedder(MODEL, device="cpu")) as service:
        service.fill("station", sorted((drawn / "bounding_box_test").iterdir()))
        visited = visit(
            chromium,
            service,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        visited.gallery("station")
        visited.search(drawn / "query" / "0005_c1s1_000001_00.jpg")
        visited.page.wait_for_timeout(1500)
        visited.page.mouse.move(0, 0)
        shot = Image.open(io.BytesIO(visited.page.screenshot())).convert("RGB")
        # 256 colours: a quarter of the size, with hardly a visible difference.
        shot = shot.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        shot.save(folder / f"page-{name}.png", optimize=True)
        visited.check()


@pytest.mark.on_request("PAGE_SCREENSHOTS")
def test_record_the_animation(chromium, tmp_path):
    """A search, a look at what was found, and a search with a found crop, as ``page.webp``."""
    drawn = tmp_path / "people"
    options = SyntheticOptions(
        identities=14, cameras=4, crops=3, train_share=0.1, height=256, width=128
    )
    synthesize(drawn, options)
    frames: list[Image.Image] = []
    milliseconds: list[int] = []
    with serving(tmp_path / "data", OnnxEmbedder(MODEL, device="cpu")) as service:
        service.fill("station", sorted((drawn / "bounding_box_test").iterdir()))
        size = {"width": 960, "height": 720}
        visited = visit(chromium, service, viewport=size, reduced_motion="reduce")
        page = visited.page

        def keep(milliseconds_shown: int) -> None:
            frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
            milliseconds.append(milliseconds_shown)

        visited.gallery("station")
        keep(1200)
        visited.choose(drawn / "query" / "0005_c1s1_000001_00.jpg")
        page.hover("#search-button")
        keep(1000)
        page.click("#search-button")
        page.wait_for_selector("#results[aria-busy=false] .answer")
        page.wait_for_timeout(1500)
        keep(2200)
        for _ in range(6):
            page.mouse.wheel(0, 110)
            page.wait_for_timeout(100)
            keep(140)
        milliseconds[-1] = 1800
        found = page.locator(".crop .open").nth(2)
        found.scroll_into_view_if_needed()
        found.hover()
        keep(900)
        found.click()
        page.wait_for_selector(".asked .hint")
        page.wait_for_timeout(1500)
        page.mouse.move(0, 0)
        keep(2600)
        visited.check()
    first, *others = frames
    path = Path(os.environ["PAGE_SCREENSHOTS"]) / "page.webp"
    moving = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0}
    first.save(path, **moving, quality=70, method=6)
