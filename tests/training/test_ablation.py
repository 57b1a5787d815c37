"""benchmarks/ablation.py: what it says about a lever follows from the spread over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
from scipy import stats

from training.core.config import read_config
from training.run.ignored import refuse_ignored


@pytest.fixture
def ablation(import_benchmark):
    return import_benchmark("ablation")


BASE = {1: 0.30, 2: 0.40, 3: 0.35}


def plus(*gains: float) -> dict[int, float]:
    return {seed: BASE[seed] + gain for seed, gain in enumerate(gains, start=1)}


@pytest.mark.parametrize(
    ("gains", "within", "told"),
    [
        # By hand: the mean's standard error times t(2 degrees of freedom, 97.5 %) = 4.3027.
        ((0.01, 0.02, 0.03), 4.3027 * 0.01 / math.sqrt(3), "not separated"),
        ((0.02, 0.03, 0.025), 4.3027 * 0.005 / math.sqrt(3), "separated: better"),
        ((-0.02, -0.03, -0.025), 4.3027 * 0.005 / math.sqrt(3), "separated: worse"),
        # Two seeds have one degree of freedom: t = 12.7062.
        ((0.02, 0.03), 12.7062 * 0.005, "not separated"),
        ((0.020, 0.021), 12.7062 * 0.0005, "separated: better"),
        ((0.0, 0.0, 0.0), 0.0, "not separated"),
        ((0.05,), math.inf, "not separated: one seed shows no spread"),
    ],
)
def test_a_lever_is_separated_if_the_interval_leaves_out_0(ablation, gains, within, told):
    gain = ablation.compare(plus(*gains), BASE)
    assert gain.mean == pytest.approx(np.mean(gains))
    assert gain.within == pytest.approx(within, rel=1e-4, abs=1e-12)
    assert gain.describe() == told


def test_seeds_are_paired_so_their_common_spread_does_not_hide_a_gain(ablation):
    lever = plus(0.010, 0.011, 0.012)
    spread = max(BASE.values()) - min(BASE.values())
    gain = ablation.compare(lever, BASE)
    assert gain.mean < spread
    assert gain.separated
    interval = stats.ttest_rel(
        [lever[seed] for seed in BASE], list(BASE.values())
    ).confidence_interval(0.95)
    assert gain.mean - gain.within == pytest.approx(interval.low)
    assert gain.mean + gain.within == pytest.approx(interval.high)


def test_only_seeds_that_both_were_trained_with_count(ablation):
    assert ablation.compare({2: 0.42, 9: 0.99}, BASE).mean == pytest.approx(0.02)
    assert ablation.compare({9: 0.99}, BASE) is None
    assert ablation.compare({}, BASE) is None


def test_of_levers_that_do_nothing_about_one_in_twenty_seems_separated(ablation):
    rng = np.random.default_rng(1)
    base, lever = rng.normal(0.4, 0.02, (2, 2000, 3))
    found = [
        ablation.compare(dict(enumerate(one)), dict(enumerate(other))).separated
        for one, other in zip(lever, base, strict=True)
    ]
    assert 0.035 < np.mean(found) < 0.065


def test_the_table_says_it_for_every_lever(ablation):
    found = {"recipe": BASE, "good": plus(0.02, 0.03, 0.025), "short": plus(0.02), "failed": {}}
    rows = ablation.table(found).splitlines()[2:]
    assert rows == [
        "| recipe | 3 | 35.0 | 10.0 |  |  |  |",
        "| good | 3 | 37.5 | 11.0 | 2.5 | 1.3 to 3.7 | separated: better |",
        "| short | 1 | 32.0 | 0.0 | 2.0 |  | not separated: one seed shows no spread |",
        "| failed | 0 |  |  |  |  |  |",
    ]
    assert ablation.separated(found) == {"good": True, "short": None, "failed": None}


def test_levers_that_the_recipe_has_already_are_left_out(ablation):
    soft, hard = (
        ablation.changing(ablation.CONFIGS / f"{name}.toml")
        for name in ("hhcl-mobilenetv2", "hhcl-hard-links")
    )
    assert {"hard-links", "no-averaging"} <= set(soft)
    assert not {"hard-links", "no-averaging"} & set(hard)
    assert "proxies" in hard
    assert "proxies" not in soft
    assert ablation.BASE not in soft


@pytest.mark.parametrize("recipe", ["hhcl-mobilenetv2", "hhcl-hard-links"])
def test_every_lever_is_an_option_that_the_run_reads(ablation, recipe):
    path = ablation.CONFIGS / f"{recipe}.toml"
    for name in ablation.changing(path):
        refuse_ignored(read_config(path, dict(ablation.LEVERS)[name]))
