"""Training reads the stored crops of a running gallery, over HTTP."""

from __future__ import annotations

import pytest

from service.errors import InvalidInput, Unavailable
from service.testing import solid
from training.data.datasets import UNKNOWN, DataSource, read_dataset
from training.data.gallery_crops import fetch_crops

PICTURES = {
    "entrance/1": (solid((200, 20, 20)), "c1"),
    "entrance/2": (solid((20, 200, 20), kind="PNG"), "c2"),
    "odd name?&#": (solid((20, 20, 200), kind="WEBP"), None),
}


@pytest.fixture
def station(service, request):
    name = f"fetch-{abs(hash(request.node.name))}"
    service.http.post("/galleries", json={"name": name, "store_crops": True})
    for crop_id, (data, camera) in PICTURES.items():
        entry = {"crop_id": crop_id, "identity": "somebody", "camera": camera}
        assert service.add(name, [entry], data).json()["results"][0]["status"] == "created"
    yield f"{service.url}/galleries/{name}"
    service.http.delete(f"/galleries/{name}")


def test_pictures_arrive_byte_for_byte_and_without_identities(station, tmp_path):
    fetched = fetch_crops(station, None, tmp_path)
    assert (fetched.crops, fetched.without_picture) == (3, 0)
    stored = {path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert stored == {data for data, _ in PICTURES.values()}
    assert "somebody" not in fetched.manifest.read_text()
    dataset = read_dataset(DataSource(fetched.manifest))
    assert len(dataset.train) == 3
    assert dataset.cameras == ("c1", "c2", "unknown")


def test_tracks_arrive_and_keep_their_crops_together(service, station, tmp_path):
    gallery = station.rpartition("/")[2]
    for number in (1, 2):
        picture = solid((7, 7, 100 * number))
        service.put(gallery, f"walk/{number}", picture, camera="c1", track="17")
    dataset = read_dataset(DataSource(fetch_crops(station, None, tmp_path).manifest))
    tracks = [sample.track for sample in dataset.train]
    assert sorted(tracks) == [UNKNOWN, UNKNOWN, UNKNOWN, 0, 0]


def test_a_second_fetch_adds_new_pictures_and_removes_erased_ones(service, station, tmp_path):
    fetch_crops(station, None, tmp_path)
    kept = next((tmp_path / "pictures").glob("*.png"))
    before = kept.stat().st_mtime_ns
    gallery = station.rpartition("/")[2]
    service.http.delete(f"/galleries/{gallery}/crops/entrance/1")
    service.put(gallery, "entrance/3", solid((1, 2, 3)), camera="c1")
    assert fetch_crops(station, None, tmp_path).crops == 3
    assert kept.stat().st_mtime_ns == before
    stored = {path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert solid((1, 2, 3)) in stored
    assert PICTURES["entrance/1"][0] not in stored


def test_crops_without_a_picture_are_counted_and_left_out(service, tmp_path):
    service.create("half")
    service.put("half", "bare", solid((9, 9, 9)))
    service.http.patch("/galleries/half", json={"store_crops": True})
    service.put("half", "pictured", solid((8, 8, 8)))
    fetched = fetch_crops(f"{service.url}/galleries/half", None, tmp_path)
    assert (fetched.crops, fetched.without_picture) == (1, 1)


def test_a_gallery_without_pictures_is_rejected(service, tmp_path):
    service.create("bare")
    service.put("bare", "a", solid((9, 9, 9)))
    with pytest.raises(InvalidInput, match="no crop has a stored picture"):
        fetch_crops(f"{service.url}/galleries/bare", None, tmp_path)


@pytest.mark.parametrize(
    "address", ["people", "ftp://host/galleries/a", "http://host/", "http://host/galleries/"]
)
def test_an_address_that_is_not_a_gallerys_is_rejected(address, tmp_path):
    with pytest.raises(InvalidInput, match="must look like"):
        fetch_crops(address, None, tmp_path)


def test_the_services_error_is_passed_on(service, tmp_path):
    with pytest.raises(InvalidInput, match=r"404.*nowhere"):
        fetch_crops(f"{service.url}/galleries/nowhere", None, tmp_path)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        fetch_crops("http://127.0.0.1:9/galleries/people", None, tmp_path)


def test_cameras_keep_their_names(service, tmp_path):
    name = service.create("camera-names")
    service.http.patch(f"/galleries/{name}", json={"store_crops": True})
    cameras = ["1", "1.0", "NA", "None", "Doe, Jane", '"quoted"']
    for number, camera in enumerate(cameras):
        service.put(name, str(number), solid((40 * number, 9, 9)), camera=camera)
    (tmp_path / "manifest.csv").write_text("path,camera\n")  # of an earlier release
    fetched = fetch_crops(f"{service.url}/galleries/{name}", None, tmp_path)
    for source in (fetched.manifest, tmp_path):
        assert set(read_dataset(DataSource(source)).cameras) == set(cameras)
