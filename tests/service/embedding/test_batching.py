"""The batcher: shared runs, isolated failures, early rejections, a clean shutdown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from waiting import PATIENCE

from service.embedding import batching
from service.embedding.batching import Batcher
from service.embedding.embedder import Embedder
from service.errors import InvalidImage, Overloaded, ReidError, TooLarge, Unavailable
from service.machine.disconnect import set_disconnect
from service.testing import TINY_MANIFEST, FakeEmbedder

HEIGHT, WIDTH = TINY_MANIFEST.input_height, TINY_MANIFEST.input_width


def crops(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, HEIGHT, WIDTH, 3)
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


@dataclass
class Gate:
    """An embedder that records its runs and blocks each until the test releases it."""

    inner: FakeEmbedder = field(default_factory=FakeEmbedder)
    open: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)
    manifest = TINY_MANIFEST
    provider = "cpu"

    def embed(self, images):
        self.sizes.append(len(images))
        assert self.open.wait(PATIENCE), "the test never opened the gate"
        return self.inner.embed(images)


def batcher_of(embedder: Embedder, **limits: float) -> Batcher:
    return Batcher(embedder.embed, embedder.manifest, **limits)


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), PATIENCE), debug=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
        await asyncio.sleep(0.001)


def test_one_image_gets_the_embedding_it_would_get_alone():
    async def scenario():
        batcher = batcher_of(FakeEmbedder())
        (row,) = await batcher.submit(crops(1))
        np.testing.assert_array_equal(row, FakeEmbedder().embed(crops(1))[0])
        await batcher.close()

    run(scenario)


def test_no_images_give_no_embeddings():
    async def scenario():
        batcher = batcher_of(FakeEmbedder())
        assert await batcher.submit([]) == []
        await batcher.close()
        assert batcher.stats().runs == 0

    run(scenario)


def test_a_list_of_images_and_an_array_are_the_same():
    async def scenario():
        batcher = batcher_of(FakeEmbedder())
        array, images = await batcher.submit(crops(3)), await batcher.submit(list(crops(3)))
        np.testing.assert_array_equal(array, images)
        await batcher.close()

    run(scenario)


def test_simultaneous_requests_share_a_run():
    async def scenario():
        gate = Gate()
        gate.open.set()
        batcher = batcher_of(gate, max_batch=32)
        await asyncio.gather(*(batcher.submit(crops(1, seed)) for seed in range(20)))
        await batcher.close()
        assert gate.sizes == [20]

    run(scenario)


def test_a_batch_forms_while_the_previous_run_is_under_way():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=8)
        first = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        rest = [asyncio.create_task(batcher.submit(crops(1, seed))) for seed in range(10)]
        await until(lambda: batcher.stats().queued == 10)
        gate.open.set()
        await asyncio.gather(first, *rest)
        await batcher.close()
        assert gate.sizes == [1, 8, 2]

    run(scenario)


def test_a_long_request_takes_several_runs_and_keeps_its_order():
    async def scenario():
        gate = Gate()
        gate.open.set()
        batcher = batcher_of(gate, max_batch=4)
        rows = await batcher.submit(crops(10))
        np.testing.assert_array_equal(rows, FakeEmbedder().embed(crops(10)))
        await batcher.close()
        assert gate.sizes == [4, 4, 2]

    run(scenario)


def test_each_caller_gets_its_own_answers():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(delay=0.001), max_batch=16, max_queue=1000)

        async def call(seed: int) -> None:
            images = crops(1 + seed % 5, seed)
            for _ in range(3):
                rows = await batcher.submit(images)
                np.testing.assert_array_equal(rows, FakeEmbedder().embed(images))

        await asyncio.gather(*map(call, range(60)))
        stats = batcher.stats()
        await batcher.close()
        assert stats.images == 3 * sum(1 + seed % 5 for seed in range(60))
        assert stats.runs < stats.images / 4
        assert stats.images_per_second > 0
        assert stats.queued == 0

    run(scenario)


def test_max_wait_fills_the_batch():
    async def scenario():
        gate = Gate()
        gate.open.set()
        batcher = batcher_of(gate, max_wait_ms=1000)
        # All three wait before the loop reaches the timer, so the pause cannot be too long.
        first = asyncio.create_task(batcher.submit(crops(1)))
        await asyncio.sleep(0)
        await asyncio.gather(first, batcher.submit(crops(2)))
        await batcher.close()
        assert gate.sizes == [3]

    run(scenario)


def refuse_black(image):
    if not image.any():
        raise InvalidImage("black")


@pytest.mark.parametrize("poisoned", [[0], [6], [2, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_a_poisoned_image_fails_alone(poisoned):
    async def scenario():
        images = crops(7)
        images[poisoned] = 0
        batcher = batcher_of(FakeEmbedder(fault=refuse_black))
        outcomes = await batcher.submit(images)
        await batcher.close()
        for index, outcome in enumerate(outcomes):
            if index in poisoned:
                assert isinstance(outcome, InvalidImage)
            else:
                expected = FakeEmbedder().embed(images[index][None])[0]
                np.testing.assert_array_equal(outcome, expected)

    run(scenario)


def test_a_poisoned_image_does_not_affect_other_callers():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(fault=refuse_black))
        black = np.zeros((1, HEIGHT, WIDTH, 3), dtype=np.uint8)
        sound, broken = await asyncio.gather(batcher.submit(crops(3)), batcher.submit(black))
        await batcher.close()
        assert all(isinstance(row, np.ndarray) for row in sound)
        assert isinstance(broken[0], InvalidImage)

    run(scenario)


def test_an_unexpected_exception_becomes_a_reid_error_and_is_logged(caplog):
    def crash(image):
        raise ZeroDivisionError("secret")

    async def scenario():
        batcher = batcher_of(FakeEmbedder(fault=crash))
        (outcome,) = await batcher.submit(crops(1))
        assert isinstance(outcome, Unavailable)
        assert "secret" not in str(outcome)
        await batcher.close()

    run(scenario)
    assert "ZeroDivisionError" in caplog.text


def test_an_embedder_that_loses_rows_is_caught():
    class Short(FakeEmbedder):
        def embed(self, images):
            return super().embed(images)[:-1]

    async def scenario():
        batcher = batcher_of(Short())
        outcomes = await batcher.submit(crops(3))
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
        await batcher.close()

    run(scenario)


def test_a_full_queue_rejects_the_whole_call_immediately():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=1, max_queue=4)
        running = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        waiting = asyncio.create_task(batcher.submit(crops(3)))
        await until(lambda: batcher.stats().queued == 3)
        with pytest.raises(Overloaded, match="3 images are waiting") as caught:
            await batcher.submit(crops(2))
        assert caught.value.retry_after == 1
        assert batcher.stats().queued == 3
        gate.open.set()
        await asyncio.gather(running, waiting)
        assert len(await batcher.submit(crops(4))) == 4
        await batcher.close()

    run(scenario)


def test_the_wait_is_estimated_from_the_measured_rate():
    async def scenario():
        gate = Gate(FakeEmbedder(delay=0.5))
        gate.open.set()
        batcher = batcher_of(gate, max_batch=1, max_queue=6)
        await batcher.submit(crops(1))  # about two images per second
        gate.open.clear()
        tasks = [asyncio.create_task(batcher.submit(crops(1))) for _ in range(6)]
        await until(lambda: len(gate.sizes) == 2)
        tasks.append(asyncio.create_task(batcher.submit(crops(1))))
        await until(lambda: batcher.stats().queued == 6)
        with pytest.raises(Overloaded) as caught:
            await batcher.submit(crops(1))
        assert 3 <= caught.value.retry_after <= 10
        for task in tasks:
            task.cancel()
        gate.open.set()
        await batcher.close()

    run(scenario)


def test_calls_that_would_wait_too_long_are_rejected_on_arrival(monkeypatch):
    """The clock advances only with the network, by ten seconds per run, on every machine."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class Slow(Gate):
        def embed(self, images):
            embeddings = super().embed(images)
            clock.now += 10.0
            return embeddings

    async def scenario():
        gate = Slow()
        gate.open.set()
        batcher = batcher_of(gate, max_batch=1, max_queue_seconds=50)
        await batcher.submit(
            crops(1)
        )  # from now on the expected rate is a tenth of an image per second
        gate.open.clear()
        tasks = [asyncio.create_task(batcher.submit(crops(1))) for _ in range(12)]
        await until(lambda: sum(task.done() for task in tasks) == 9)
        gate.open.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        # Half of the limit is 25 s: one runs, two wait 10 and 20 s, the next would wait 30 s.
        refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
        assert outcomes[3:] == refused
        assert len(refused) == 9
        assert {error.retry_after for error in refused} == {30}
        assert "one more would wait 30.0 s" in str(refused[-1])
        assert len(await batcher.submit(crops(1))) == 1
        await batcher.close()

    run(scenario)


def test_a_run_faster_than_expected_leaves_no_wait_behind():
    """After a slow moment, an idle network must not reject the next image."""

    async def scenario():
        batcher = batcher_of(FakeEmbedder(), max_queue_seconds=1.0)
        batcher._pace.count(1, 1000.0)  # a run that took very long
        await batcher.submit(crops(1))
        batcher.admit(1)
        assert len(await batcher.submit(crops(1))) == 1
        await batcher.close()

    run(scenario)


def test_time_waited_elsewhere_counts():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(), max_queue_seconds=PATIENCE)
        assert len(await batcher.submit(crops(1), waited=PATIENCE / 3)) == 1
        with pytest.raises(Overloaded, match="one more would wait"):
            await batcher.submit(crops(1), waited=PATIENCE + 1)
        await batcher.close()

    run(scenario)


def test_images_being_decoded_count_as_waiting():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(), max_batch=1, max_queue=8, max_queue_seconds=PATIENCE)
        await batcher.submit(crops(1))
        batcher.admit(1, coming=7)
        with pytest.raises(Overloaded, match="8 images are waiting: 1 more would exceed 8"):
            batcher.admit(1, coming=8)
        await batcher.close()

    run(scenario)


def test_callers_of_a_hanging_network_wait_no_longer_than_the_limit():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=1, max_queue_seconds=PATIENCE)
        running = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        batcher._max_queue_seconds = 0.2
        with pytest.raises(Overloaded, match="did not take the image"):
            await batcher.submit(crops(3))
        assert batcher.stats().queued == 0
        gate.open.set()
        assert len(await running) == 1
        await batcher.close()
        assert gate.sizes == [1]

    run(scenario)


def test_a_call_that_has_begun_is_finished():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=2, max_queue_seconds=1)
        running = asyncio.create_task(batcher.submit(crops(10)))
        await until(lambda: gate.sizes == [2])
        await asyncio.sleep(1.1)
        gate.open.set()
        assert len(await running) == 10
        await batcher.close()

    run(scenario)


def test_images_that_share_the_next_run_do_not_wait_for_each_other():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(), max_batch=32, max_queue_seconds=PATIENCE)
        batcher._pace.count(1, PATIENCE)  # one at a time, each would wait for all before it
        calls = (batcher.submit(crops(1)) for _ in range(30))
        assert len(await asyncio.gather(*calls)) == 30
        await batcher.close()

    run(scenario)


def test_a_probe_takes_the_next_run_of_a_full_queue():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=2, max_queue=4)
        first = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        waiting = asyncio.create_task(batcher.submit(crops(4)))
        await until(lambda: batcher.stats().queued == 4)
        probe = asyncio.create_task(batcher.submit(crops(1), urgent=True))
        probe.add_done_callback(lambda _: order.append("probe"))
        waiting.add_done_callback(lambda _: order.append("waiting"))
        order: list[str] = []
        gate.open.set()
        rows = await waiting
        await asyncio.gather(first, probe)
        np.testing.assert_array_equal(rows, FakeEmbedder().embed(crops(4)))
        await batcher.close()
        assert order == ["probe", "waiting"]

    run(scenario)


def test_images_of_a_disconnected_client_are_dropped():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate)
        running = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        departure = asyncio.get_running_loop().create_future()

        async def request() -> None:
            set_disconnect(departure)
            await batcher.submit(crops(5))

        leaving = asyncio.create_task(request())
        await until(lambda: batcher.stats().queued == 5)
        departure.set_result(None)
        with pytest.raises(Unavailable, match="the client has disconnected"):
            await leaving
        assert batcher.stats().queued == 0
        gate.open.set()
        await running
        await batcher.close()
        assert gate.sizes == [1]

    run(scenario)


def test_more_images_than_the_queue_holds_are_too_large():
    async def scenario():
        batcher = batcher_of(FakeEmbedder(), max_queue=4)
        with pytest.raises(TooLarge, match="5 images at once: the queue holds at most 4"):
            await batcher.submit(crops(5))
        await batcher.close()

    run(scenario)


@pytest.mark.parametrize(
    "image", [np.zeros((HEIGHT, WIDTH, 3)), np.zeros((WIDTH, HEIGHT, 3), dtype=np.uint8)]
)
def test_a_wrong_image_never_reaches_the_queue(image):
    async def scenario():
        batcher = batcher_of(FakeEmbedder())
        with pytest.raises(ValueError, match="the model takes uint8"):
            await batcher.submit([*crops(2), image])
        assert batcher.stats().queued == 0
        assert len(await batcher.submit(crops(2))) == 2
        await batcher.close()

    run(scenario)


def test_images_of_a_cancelled_call_leave_the_queue():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate)
        staying = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [1])
        leaving = asyncio.create_task(batcher.submit(crops(5)))
        also_staying = asyncio.create_task(batcher.submit(crops(2)))
        await until(lambda: batcher.stats().queued == 7)
        leaving.cancel()
        gate.open.set()
        assert len((await staying) + (await also_staying)) == 3
        await batcher.close()
        assert gate.sizes == [1, 2]

    run(scenario)


def test_a_call_cancelled_during_its_run_affects_no_other():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate)
        leaving = asyncio.create_task(batcher.submit(crops(1)))
        staying = asyncio.create_task(batcher.submit(crops(1)))
        await until(lambda: gate.sizes == [2])
        leaving.cancel()
        gate.open.set()
        assert len(await staying) == 1
        await batcher.close()

    run(scenario)


def test_closing_finishes_waiting_calls_and_rejects_new_ones():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=2)
        waiting = asyncio.create_task(batcher.submit(crops(6)))
        await until(lambda: gate.sizes == [2])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="shutting down"):
            await batcher.submit(crops(1))
        gate.open.set()
        await closing
        assert all(not isinstance(outcome, ReidError) for outcome in await waiting)
        await batcher.close()

    run(scenario)


def test_cancelling_close_does_not_cancel_running_calls():
    async def scenario():
        gate = Gate()
        batcher = batcher_of(gate, max_batch=2)
        waiting = asyncio.create_task(batcher.submit(crops(6)))
        await until(lambda: gate.sizes == [2])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.close(), 0.01)
        gate.open.set()
        assert len(await waiting) == 6
        await batcher.close()

    run(scenario)


def test_a_loop_that_ends_without_closing_stays_silent(recwarn, caplog):
    gate = Gate()

    async def scenario():
        batcher = batcher_of(gate)
        task = asyncio.create_task(batcher.submit(crops(3)))
        await until(lambda: gate.sizes == [3])
        task.cancel()

    run(scenario)
    gate.open.set()
    assert not list(recwarn)
    assert not caplog.records


@pytest.mark.parametrize("limits", [{"max_batch": 0}, {"max_queue": 0}, {"max_wait_ms": -1.0}])
def test_impossible_limits(limits):
    with pytest.raises(ValueError, match="at least"):
        batcher_of(FakeEmbedder(), **limits)
