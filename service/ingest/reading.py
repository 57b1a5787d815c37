"""Read the values of a crop, apply time zones, and note what was assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from service.errors import InvalidInput
from service.ingest.crop_values import COLUMNS, DOUBTFUL, is_missing, read_id, read_name, shown
from service.values.names import name_of
from service.values.timestamps import Moment, read_moment
from service.values.zones import read_zone


@dataclass(slots=True)
class Remarks:
    """What was assumed or ignored, for the person who started the import.

    Attributes:
        assumed_utc: number of times that had no zone and were read as UTC.
        ambiguous_times: number of times that the clocks showed twice; the first was taken.
        ignored_columns: names of unknown columns.
        zone_cameras: cameras that used the zone given for them.
        doubtful_names: how often each name occurred that programs write for a missing value.
    """

    assumed_utc: int = 0
    ambiguous_times: int = 0
    ignored_columns: set[str] = field(default_factory=set)
    zone_cameras: set[str] = field(default_factory=set)
    doubtful_names: Counter[str] = field(default_factory=Counter)

    def note(self, values: CropValues) -> None:
        """Count what was assumed for one crop."""
        if values.moment is not None:
            self.assumed_utc += values.moment.assumed_utc
            self.ambiguous_times += values.moment.ambiguous
        for name in (values.identity, values.camera, values.track):
            if name in DOUBTFUL:
                self.doubtful_names[name] += 1


@dataclass(frozen=True, slots=True)
class Zones:
    """The zones of times that are written without one.

    Attributes:
        default: zone of every camera without its own; None assumes UTC.
        cameras: zones of single cameras.
    """

    default: tzinfo | None = None
    cameras: Mapping[str, tzinfo] = field(default_factory=dict)

    @classmethod
    def read(cls, zone: str | None = None, zones: Mapping[str, str] | None = None) -> Zones:
        """Read zones.

        Args:
            zone: zone of every camera that ``zones`` does not name.
            zones: zones of single cameras, by name.

        Raises:
            InvalidInput: a zone is unknown, or a camera's name is not valid.
        """
        try:
            cameras = {name_of(camera): read_zone(text) for camera, text in (zones or {}).items()}
            return cls(None if zone is None else read_zone(zone), cameras)
        except ValueError as error:
            raise InvalidInput(str(error)) from error


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are read, and the remarks collected on the way.

    Attributes:
        zones: zones of times without one.
        remarks: what was assumed or ignored so far.
    """

    zones: Zones = Zones()
    remarks: Remarks = field(default_factory=Remarks)

    def zone(self, given: object, camera: str | None) -> tzinfo | None:
        """Find the zone of a time that is written without one.

        Args:
            given: the crop's zone; if it is missing, the camera's zone or the default applies.
            camera: the camera that took the crop.

        Returns:
            The zone; None if none was given.

        Raises:
            ValueError: the value is not a zone.
        """
        if not is_missing(given):
            if not isinstance(given, str):
                raise ValueError(f"must be a text, got {shown(given)}")
            return read_zone(given)
        if camera is not None and camera in self.zones.cameras:
            self.remarks.zone_cameras.add(camera)
            return self.zones.cameras[camera]
        return self.zones.default

    @property
    def unused_zones(self) -> list[str]:
        """Cameras with a zone of their own that no time needed."""
        return sorted(set(self.zones.cameras) - self.remarks.zone_cameras)

    def result(self) -> dict[str, Any]:
        """The part of a job's result about these remarks."""
        return {
            "assumed_utc": self.remarks.assumed_utc,
            "ambiguous_times": self.remarks.ambiguous_times,
            "ignored_columns": sorted(self.remarks.ignored_columns),
            "doubtful_names": dict(self.remarks.doubtful_names),
        }

    def warnings(self) -> list[str]:
        """What the person who started the import should know, one sentence each."""
        remarks, ignored, unused = self.remarks, self.remarks.ignored_columns, self.unused_zones
        found = {
            _of_utc(remarks.assumed_utc): remarks.assumed_utc,
            _of_two(remarks.ambiguous_times): remarks.ambiguous_times,
            f"unknown columns were ignored: {', '.join(sorted(ignored))} (known columns: "
            f"{', '.join(sorted(COLUMNS))})": ignored,
            _of_doubt(remarks.doubtful_names): remarks.doubtful_names,
            f"the zone given for {', '.join(unused)} was not used: no time without a zone is from "
            "there": unused,
        }
        return [text for text, occurred in found.items() if occurred]


@dataclass(frozen=True, slots=True)
class CropValues:
    """The values of a crop; None for those that are unknown."""

    crop_id: str | None
    identity: str | None
    camera: str | None
    moment: Moment | None
    track: str | None = None


def read_values(
    values: Mapping[str, object], reading: Reading, where: str = "column"
) -> CropValues:
    """Read the values of a crop from a row of a manifest or the groups of a pattern.

    Args:
        values: values by column; unknown columns are ignored.
        reading: how times are read.
        where: what to call a column in messages.

    Returns:
        The values.

    Raises:
        InvalidInput: a value breaks a rule; the message names its column.
    """
    camera = read_name(f"{where} camera", values.get("camera"))
    return CropValues(
        read_id(f"{where} crop_id", values.get("crop_id")),
        read_name(f"{where} identity", values.get("identity")),
        camera,
        _moment(values, reading, camera, where),
        read_name(f"{where} track", values.get("track")),
    )


def _moment(
    values: Mapping[str, object], reading: Reading, camera: str | None, where: str
) -> Moment | None:
    """The time of a crop; None if it is missing. Raises InvalidInput."""
    given = values.get("timestamp")
    if is_missing(given):
        return None
    column = "zone"
    try:
        zone = reading.zone(values.get("zone"), camera)
        column = "timestamp"
        return read_moment(given, zone)
    except ValueError as error:
        raise InvalidInput(f"{where} {column}: {error}") from error


def _of_utc(count: int) -> str:
    times, were = ("1 time has", "was") if count == 1 else (f"{count:,} times have", "were")
    return f"{times} no zone and {were} read as UTC; set the zone if the cameras use another one"


def _of_doubt(names: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} ({count:,} times)" for name, count in sorted(names.items()))
    return f"values that often mean a missing value were read as names: {listed}"


def _of_two(count: int) -> str:
    times = "1 time lies" if count == 1 else f"{count:,} times lie"
    return f"{times} in an hour that the clocks showed twice; the first one was assumed"
