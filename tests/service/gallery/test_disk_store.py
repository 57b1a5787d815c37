"""Guarantees of galleries on disk: acknowledged writes survive, damaged crops are not served."""

from __future__ import annotations

import logging
import resource
import runpy
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import pytest

from service.errors import Conflict, NotFound, StorageFull, Unavailable
from service.gallery.base import Crop, Filter
from service.gallery.disk.folders import served_file
from service.gallery.disk.store import DiskGalleryStore

MODEL = "a" * 64
EVERYTHING = Filter()
PROGRAM = Path(__file__).with_name("upsert_until_killed.py")


@pytest.fixture
def root(tmp_path):
    """The folder that the store fixture serves."""
    return tmp_path / "data"


def database_of(root, name="g"):
    return served_file(root / "galleries" / name)


def change_on_disk(root, statement, *values):
    """Change a file of the closed store."""
    with closing(sqlite3.connect(database_of(root))) as connection, connection:
        connection.execute(statement, values)


class TestKill:
    @pytest.mark.parametrize("moment", [0.15, 0.4, 0.9])
    def test_everything_acknowledged_survives(self, reopen, root, oracle, draw, moment):
        acknowledged, last = self._kill_after(root, moment)
        gallery = reopen().open("g")
        vector = runpy.run_path(str(PROGRAM))["vector"]
        found = {crop.crop_id: crop for crop in gallery.page(EVERYTHING, 1000).crops}
        # The change after the last acknowledged one may have been committed too.
        unheard = str((last + 1) % 37)
        assert {k: v for k, v in found.items() if k != unheard} == {
            k: v for k, v in acknowledged.items() if k != unheard
        }
        crops = list(found.values())
        oracle.upsert(crops, [vector(int(crop.identity)) for crop in crops])
        oracle.assert_answers(gallery, draw(3, 16), 50, EVERYTHING)

    @staticmethod
    def _kill_after(root, moment):
        acknowledged, last = {}, -1
        with subprocess.Popen(
            [sys.executable, PROGRAM, root], stdout=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout.readline() == "ready\n"
            deadline = time.monotonic() + moment
            for line in program.stdout:
                verb, step, crop_id = line.split()
                last = int(step)
                if verb == "upsert":
                    acknowledged[crop_id] = Crop(crop_id, identity=step)
                else:
                    acknowledged.pop(crop_id, None)
                if time.monotonic() > deadline and program.poll() is None:
                    program.send_signal(signal.SIGKILL)
        assert program.returncode == -signal.SIGKILL
        assert last >= 0
        return acknowledged, last

    def test_an_open_transaction_leaves_nothing(self, store, reopen, root, draw):
        store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
        code = (
            "import os, sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "db.execute('BEGIN IMMEDIATE')\n"
            "db.execute('DELETE FROM crops')\n"
            "db.execute(\"INSERT INTO crops (crop_id) VALUES ('half')\")\n"
            "os._exit(9)\n"
        )
        store.close()
        subprocess.run([sys.executable, "-c", code, database_of(root)], check=False)
        assert [c.crop_id for c in reopen().open("g").page(EVERYTHING, 9).crops] == ["a"]


class TestDamage:
    @pytest.fixture
    def gallery(self, store, draw):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop(f"{i}", camera="c") for i in range(5)], draw(5))
        return gallery

    @pytest.mark.parametrize(
        "statement",
        [
            """UPDATE segments SET vectors =
            CAST(substr(vectors, 1, 16448) || zeroblob(32) || substr(vectors, 16481) AS BLOB)""",
            "UPDATE crops SET crc32 = crc32 + 1 WHERE crop_id = '2'",
        ],
    )
    def test_a_damaged_crop_is_named_and_not_served(
        self, gallery, reopen, root, draw, caplog, statement
    ):
        reopen().close()
        change_on_disk(root, statement)
        with caplog.at_level(logging.WARNING):
            gallery = reopen().open("g")
        assert "1 crops with a damaged embedding" in caplog.text
        assert "'2'" in caplog.text
        stats = gallery.stats()
        assert (stats.crops, stats.damaged, stats.cameras) == (4, 1, {"c": 4})
        assert [crop.crop_id for crop in gallery.page(EVERYTHING, 9).crops] == ["0", "1", "3", "4"]
        assert "2" not in {hit.crop.crop_id for hit in gallery.query(draw(1), 9, EVERYTHING)[0]}
        with pytest.raises(NotFound):
            gallery.get("2")
        # Both remedies: send it again, or delete it.
        assert gallery.upsert([Crop("2")], draw(1, seed=1)) == 0
        assert (gallery.stats().crops, gallery.stats().damaged) == (5, 0)
        assert reopen().open("g").stats().damaged == 0

    @pytest.mark.parametrize(
        "statement",
        ["DELETE FROM segments", "UPDATE segments SET vectors = substr(vectors, 1, 28)"],
    )
    def test_a_truncated_segment_damages_its_crops(self, gallery, reopen, root, draw, statement):
        gallery.upsert([Crop(f"{i}") for i in range(5, 70)], draw(65))
        reopen().close()
        change_on_disk(root, statement + " WHERE id = 0")
        gallery = reopen().open("g")
        assert (gallery.stats().crops, gallery.stats().damaged) == (6, 64)
        assert gallery.query(draw(1), 9, EVERYTHING)[0][0].crop.crop_id in map(str, range(64, 70))
        assert gallery.upsert([Crop(f"{i}") for i in range(70)], draw(70)) == 0
        assert (gallery.stats().crops, gallery.stats().damaged) == (70, 0)
        assert reopen().open("g").stats().damaged == 0

    @pytest.mark.parametrize("bit", [0, 7, 31, 100, 128, 255])
    def test_every_flipped_bit_is_noticed(self, gallery, reopen, root, bit):
        (row,) = gallery.embeddings(["3"])
        reopen().close()
        path = database_of(root)
        content = bytearray(path.read_bytes())
        at = content.index(row.tobytes())
        content[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        stats = reopen().open("g").stats()
        assert (stats.crops, stats.damaged) == (4, 1)

    def test_a_damaged_crop_can_be_deleted(self, gallery, reopen, root):
        reopen().close()
        change_on_disk(root, "UPDATE crops SET crc32 = 0 WHERE crop_id = '2'")
        gallery = reopen().open("g")
        assert gallery.delete(Filter(crop_ids=frozenset({"2"}))).crops == 1
        assert gallery.stats().damaged == 0
        assert reopen().open("g").stats().damaged == 0

    @pytest.mark.parametrize("content", [b"", b"no database at all" * 500])
    def test_one_broken_file_leaves_the_others_served(
        self, gallery, store, reopen, root, draw, content
    ):
        store.create("sound", MODEL, 8).upsert([Crop("a")], draw(1))
        reopen().close()
        database_of(root).write_bytes(content)
        store = reopen()
        assert [one.name for one in store.stats()] == ["sound"]
        with pytest.raises(Unavailable, match=r"gallery 'g' is not served: .*gallery-a+\.sqlite3"):
            store.open("g")
        with pytest.raises(Conflict):
            store.create("g", MODEL, 8)
        assert store.delete("g") == 0
        assert store.create("g", MODEL, 8).stats().crops == 0

    def test_a_newer_format_is_not_touched(self, gallery, reopen, root):
        reopen().close()
        change_on_disk(root, "PRAGMA user_version = 9")
        with pytest.raises(
            Unavailable, match="the file has format 9, but this release reads formats 1 to 4"
        ):
            reopen().open("g")


class TestFullDisk:
    def test_a_full_disk_changes_nothing(self, store, reopen, draw):
        gallery = store.create("g", MODEL, 512)
        gallery.upsert([Crop("a")], draw(1, 512))
        writer = gallery.database._writer
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 20}")
        many = [Crop(f"b{i}") for i in range(500)]
        with pytest.raises(StorageFull, match="full"):
            gallery.upsert(many, draw(500, 512))
        for again in (False, True):
            gallery = reopen().open("g") if again else gallery
            assert [crop.crop_id for crop in gallery.page(EVERYTHING, 9).crops] == ["a"]
            assert len(gallery.query(draw(1, 512), 9, EVERYTHING)[0]) == 1
        assert gallery.upsert(many, draw(500, 512)) == 500

    def test_a_failing_disk_changes_nothing(self, reopen, root, draw):
        """A limit on the size of files makes the system refuse the write itself."""
        code = f"""
import resource, sys
from pathlib import Path
import numpy as np
from service.errors import StorageFull, Unavailable
from service.gallery.base import Crop, Filter
from service.gallery.disk.folders import served_file
from service.gallery.disk.store import DiskGalleryStore
store = DiskGalleryStore(Path(sys.argv[1]), device="cpu")
gallery = store.create("g", "{MODEL}", 512)
rows = np.eye(512, dtype=np.float32)
gallery.upsert([Crop("kept")], rows[:1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    gallery.upsert([Crop(str(i)) for i in range(512)], rows)
except (StorageFull, Unavailable):
    print("refused", gallery.stats().crops)
"""
        answer = subprocess.run(
            [sys.executable, "-c", code, root], check=True, capture_output=True, text=True
        )
        assert answer.stdout == "refused 1\n"
        assert [c.crop_id for c in reopen().open("g").page(EVERYTHING, 9).crops] == ["kept"]

    def test_a_full_folder_is_not_writable(self, store):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            assert not store.writable()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.writable()


class TestFolders:
    def test_an_interrupted_delete_is_finished_at_the_start(self, store, reopen, root, draw):
        store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
        store.close()
        # What remains if the program dies right after the rename that decides.
        database_of(root).parent.rename(root / "galleries" / ".g-0badcafe")
        store = reopen()
        assert store.stats() == []
        assert list((root / "galleries").iterdir()) == []

    def test_an_interrupted_create_is_undone_at_the_start(self, store, reopen, root):
        store.close()
        unfinished = root / "galleries" / ".g-0badcafe"
        unfinished.mkdir()
        (unfinished / "gallery.sqlite3").write_bytes(b"half")
        store = reopen()
        assert list((root / "galleries").iterdir()) == []
        store.create("g", MODEL, 8)

    def test_deleting_removes_every_file(self, store, root, draw):
        store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
        store.delete("g")
        assert list((root / "galleries").iterdir()) == []

    def test_a_failed_delete_changes_nothing(self, store, root, draw, monkeypatch):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop("a")], draw(1))
        # The target of the rename that decides already exists, so the system refuses it.
        deleted = root / "galleries" / ".g-taken"
        deleted.mkdir()
        (deleted / "file").touch()
        monkeypatch.setattr(store, "_unfinished_folder", lambda _: deleted)
        with pytest.raises(Unavailable, match="not empty"):
            store.delete("g")
        assert store.open("g").upsert([Crop("b")], draw(1)) == 1
        assert [one.crops for one in store.stats()] == [2]

    def test_deleted_embeddings_leave_the_disk(self, store, root, draw):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop("erased-person"), Crop("kept-person")], draw(2))
        erased, kept = gallery.embeddings(["erased-person", "kept-person"])
        gallery.delete(Filter(crop_ids=frozenset({"erased-person"})))
        stored = b"".join(path.read_bytes() for path in database_of(root).parent.iterdir())
        assert kept.tobytes() in stored
        assert b"kept-person" in stored
        assert erased.tobytes()[:8] not in stored
        assert b"erased-person" not in stored

    def test_the_error_names_a_folder_that_cannot_be_created(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(Unavailable, match="file"):
            DiskGalleryStore(tmp_path / "file" / "data", device="cpu")


class TestLock:
    def test_a_second_process_is_refused_and_the_first_is_named(self, store, root):
        code = (
            "import sys; from pathlib import Path\n"
            "from service.gallery.disk.store import DiskGalleryStore\n"
            "DiskGalleryStore(Path(sys.argv[1]), device='cpu')\n"
        )
        answer = subprocess.run(
            [sys.executable, "-c", code, root], check=False, capture_output=True, text=True
        )
        assert answer.returncode == 1
        assert "Unavailable" in answer.stderr
        assert "already serves this folder" in answer.stderr
        assert (root / "lock").read_text().strip() in answer.stderr

    def test_closing_releases_the_folder(self, store, root):
        gallery = store.create("g", MODEL, 8)
        with pytest.raises(Unavailable, match="already serves this folder"):
            DiskGalleryStore(root, device="cpu")
        store.close()
        with pytest.raises(Unavailable, match="closed"):
            gallery.delete(EVERYTHING)
        with pytest.raises(Unavailable, match="closed"):
            store.create("h", MODEL, 8)
        assert not store.writable()
        store.close()
        DiskGalleryStore(root, device="cpu").close()


class TestDevice:
    def test_auto_uses_the_available_device(self, tmp_path):
        store = DiskGalleryStore(tmp_path)
        assert store.device == ("cuda" if faiss.get_num_gpus() else "cpu")
        store.close()

    @pytest.mark.skipif(faiss.get_num_gpus() > 0, reason="GPU: FAISS sees one here")
    def test_cuda_without_a_gpu_refuses_to_start(self, tmp_path):
        with pytest.raises(Unavailable, match="finds no GPU"):
            DiskGalleryStore(tmp_path, device="cuda")
        DiskGalleryStore(tmp_path, device="cpu").close()

    @pytest.mark.gpu
    @pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="GPU: FAISS sees none here")
    def test_the_gpu_finds_what_the_cpu_finds(self, tmp_path, draw, oracle):
        gallery = DiskGalleryStore(tmp_path, device="cuda").create("g", MODEL, 64)
        crops, rows = [Crop(f"{i:04d}", camera=str(i % 3)) for i in range(2000)], draw(2000, 64)
        gallery.upsert(crops, rows)
        oracle.upsert(crops, rows)
        for where in (EVERYTHING, Filter(not_camera="1")):
            gallery.delete(Filter(crop_ids=frozenset({"0007"})))
            oracle.delete(Filter(crop_ids=frozenset({"0007"})))
            oracle.assert_answers(gallery, draw(5, 64, seed=1), 20, where)


def test_the_size_on_disk_is_that_of_the_folder(store, root, draw):
    gallery = store.create("g", MODEL, 512)
    gallery.upsert([Crop(f"{i}") for i in range(50)], draw(50, 512))
    on_disk = sum(path.stat().st_size for path in database_of(root).parent.iterdir())
    assert gallery.stats().bytes_on_disk == on_disk > 50 * 512 * 4


def test_many_replacements_compact_the_rows(store, oracle, draw):
    """Dead rows are released, and the answers stay the same."""
    gallery = store.create("g", MODEL, 8)
    crops = [Crop(f"{i:03d}", camera=f"c{i % 4}") for i in range(300)]
    for seed in range(8):
        rows = draw(300, seed=seed)
        gallery.upsert(crops, rows)
        oracle.upsert(crops, rows)
    snapshot = gallery._rows.now()
    assert snapshot.generation > 0
    assert len(snapshot.alive) < 8 * 300
    np.testing.assert_array_equal(snapshot.alive.sum(), 300)
    oracle.assert_answers(gallery, draw(5, seed=99), 10, Filter(not_camera="c1"))
    oracle.assert_answers(gallery, draw(1, seed=98), 10, EVERYTHING)
    assert gallery.delete(Filter(cameras=frozenset({"c0"}))).crops == 75
    assert gallery.stats().cameras == {"c1": 75, "c2": 75, "c3": 75}
