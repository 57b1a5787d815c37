"""Reading times: properties of all texts and numbers, and details the API tests do not cover."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.values.timestamps import (
    EARLIEST,
    LATEST,
    as_input,
    corrected,
    moment_as_input,
    parse_timestamp,
    read_moment,
)
from service.values.zones import read_zone

TIMELIKE = st.text("0123456789-:.,TZ+ tz_WeE", max_size=30)


@settings(deadline=None)
@given(st.one_of(st.text(), TIMELIKE, st.integers(), st.floats(), st.decimals()))
def test_any_value_is_a_finite_moment_or_a_value_error(value):
    try:
        assert math.isfinite(parse_timestamp(value))
    except ValueError as error:
        said = str(error)
    else:
        return
    assert "is not a time" in said


@settings(deadline=None)
@given(st.datetimes(timezones=st.timezones() | st.none()), st.timezones() | st.none())
def test_a_datetime_is_the_moment_python_computes(moment, zone):
    placed = moment if moment.tzinfo else moment.replace(tzinfo=zone or UTC)
    try:
        found = read_moment(moment, zone)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert "does not exist" in said
        return
    since = placed.replace(tzinfo=None) - datetime(1970, 1, 1) - placed.utcoffset()  # noqa: DTZ001
    assert found.seconds == since.total_seconds()
    assert found.assumed_utc == (moment.tzinfo is None and zone is None)


@settings(deadline=None)
@given(st.floats(EARLIEST, LATEST, exclude_max=True))
def test_seconds_between_1980_and_2100_are_seconds(seconds):
    assert parse_timestamp(seconds) == parse_timestamp(repr(seconds)) == seconds
    assert as_input(seconds) == corrected(seconds) == seconds


@settings(deadline=None)
@given(st.integers(EARLIEST * 1000, LATEST * 1000 - 1))
def test_milliseconds_between_1980_and_2100_are_milliseconds(milliseconds):
    assert parse_timestamp(milliseconds) == milliseconds / 1000
    assert parse_timestamp(str(milliseconds)) == milliseconds / 1000


@settings(deadline=None)
@given(st.datetimes(datetime(1000, 1, 1), datetime(3000, 1, 1)))  # noqa: DTZ001
def test_digits_that_are_a_date_are_that_date(moment):
    for form, kept in (
        ("%Y%m%d", {"hour": 0, "minute": 0, "second": 0}),
        ("%Y%m%d%H%M", {"second": 0}),
        ("%Y%m%d%H%M%S", {}),
    ):
        meant = moment.replace(microsecond=0, **kept)
        digits = meant.strftime(form)
        assert read_moment(digits) == read_moment(meant)
    assert read_moment(moment.date()) == read_moment(moment.strftime("%Y-%m-%d"))


@settings(deadline=None)
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))  # noqa: DTZ001
def test_written_times_are_read_back(moment):
    found = read_moment(moment)
    assert parse_timestamp(as_input(found.seconds)) == pytest.approx(found.seconds, abs=1e-6)
    again = read_moment(moment_as_input(found))
    assert (again.seconds, again.assumed_utc) == (pytest.approx(found.seconds, abs=1e-6), True)


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (20261121.0, 1795219200.0),
        (202611211405.0, 1795269900.0),
        (20261121140533.0, 1795269933.0),
        (1795269933000.0, 1795269933.0),
        (1795269933.0, 1795269933.0),
        (2026.0, 2026.0),
        (60.0, 60.0),
        (0.0, 0.0),
        (-5.0, -5.0),
        (20261340.0, 20261340.0),
        (10000101.0, 10000101.0),
        (1e300, 1e300),
    ],
)
def test_numbers_of_earlier_versions(stored, meant):
    assert corrected(stored) == meant


def test_value_types():
    berlin = read_zone("Europe/Berlin")
    assert parse_timestamp(Decimal("1795269933.5")) == 1795269933.5
    assert read_moment(date(2026, 11, 21), berlin).seconds == 1795215600.0
    offset = datetime(2026, 11, 21, tzinfo=timezone(timedelta(hours=1)))
    assert not read_moment(offset).assumed_utc
    for value in (None, b"20261121", [], {}, True, False, timedelta(1)):
        with pytest.raises(ValueError, match="is not a time"):
            read_moment(value)


def test_zones():
    assert read_zone(" Europe/Berlin ") is read_zone("Europe/Berlin")
    for text in ("+01:00", "+0100", "+01"):
        assert read_zone(text) == timezone(timedelta(hours=1))
    assert read_zone("-03:30") == timezone(-timedelta(hours=3.5))
    for text, hint in (
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("New York", "did you mean America/New_York"),
        ("0100", "begins with"),
        ("right/Europe/Berlin", "unknown time zone"),
        ("posixrules", "unknown time zone"),
        ("../../etc/localtime", "unknown time zone"),
        ("/etc/localtime", "unknown time zone"),
        ("Europe", "unknown time zone"),
        ("\0", "unknown time zone"),
        ("", "unknown time zone"),
        ("+19:00", "at most 18 hours"),
        ("+01:60", "at most"),
    ):
        with pytest.raises(ValueError, match="time zone") as refused:
            read_zone(text)
        assert hint in str(refused.value)
