"""How an import reads its values: in which zones, and what it had to assume."""

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
    """What a reader had to assume or leave aside, for whoever started the import.

    Attributes:
        assumed_utc: how many times had no zone, neither of their own nor stated, and were read as
            UTC.
        ambiguous_times: how many times the clocks of their zone showed twice; the first was taken.
        ignored_columns: names of columns that mean nothing here.
        zone_cameras: cameras that used the zone stated for them.
        doubtful_names: how often a name was used that programs write for a missing value.
    """

    assumed_utc: int = 0
    ambiguous_times: int = 0
    ignored_columns: set[str] = field(default_factory=set)
    zone_cameras: set[str] = field(default_factory=set)
    doubtful_names: Counter[str] = field(default_factory=Counter)

    def note(self, values: Values) -> None:
        """Count what had to be assumed for one crop."""
        if values.moment is not None:
            self.assumed_utc += values.moment.assumed_utc
            self.ambiguous_times += values.moment.ambiguous
        for name in (values.identity, values.camera):
            if name in DOUBTFUL:
                self.doubtful_names[name] += 1


@dataclass(frozen=True, slots=True)
class Zones:
    """Which clocks a time without a zone was read from.

    Attributes:
        default: of every camera that has none of its own; None if nobody stated one.
        cameras: zones of single cameras.
    """

    default: tzinfo | None = None
    cameras: Mapping[str, tzinfo] = field(default_factory=dict)

    @classmethod
    def read(cls, zone: str | None = None, zones: Mapping[str, str] | None = None) -> Zones:
        """Read the zones that somebody states.

        Args:
            zone: of every camera that ``zones`` does not name.
            zones: of single cameras, by their names.

        Raises:
            InvalidInput: there is no such zone, or a camera's name breaks a rule.
        """
        try:
            cameras = {name_of(camera): read_zone(text) for camera, text in (zones or {}).items()}
            return cls(None if zone is None else read_zone(zone), cameras)
        except ValueError as error:
            raise InvalidInput(str(error)) from error


@dataclass(frozen=True, slots=True)
class Reading:
    """How an import reads values, and what it notes of them.

    Attributes:
        zones: for times without a zone.
        remarks: what had to be assumed or left aside; filled in on the way.
    """

    zones: Zones = Zones()
    remarks: Remarks = field(default_factory=Remarks)

    def zone(self, given: object, camera: str | None) -> tzinfo | None:
        """In which zone the time of a crop is read if it has none of its own.

        Args:
            given: the value of its zone; the camera's or the default one if missing.
            camera: which camera took the crop.

        Returns:
            The zone; None if nobody stated one.

        Raises:
            ValueError: the value is no zone.
        """
        if not is_missing(given):
            if not isinstance(given, str):
                raise ValueError(f"{shown(given)} must be a text")
            return read_zone(given)
        if camera is not None and camera in self.zones.cameras:
            self.remarks.zone_cameras.add(camera)
            return self.zones.cameras[camera]
        return self.zones.default

    @property
    def unused_zones(self) -> list[str]:
        """Cameras for which a zone was stated and that no time without a zone belongs to."""
        return sorted(set(self.zones.cameras) - self.remarks.zone_cameras)

    def result(self) -> dict[str, Any]:
        """What a job answers of it."""
        return {
            "assumed_utc": self.remarks.assumed_utc,
            "ambiguous_times": self.remarks.ambiguous_times,
            "ignored_columns": sorted(self.remarks.ignored_columns),
            "doubtful_names": dict(self.remarks.doubtful_names),
        }

    def warnings(self) -> list[str]:
        """What whoever started the import should know, a sentence each."""
        remarks, ignored, unused = self.remarks, self.remarks.ignored_columns, self.unused_zones
        found = {
            _of_utc(remarks.assumed_utc): remarks.assumed_utc,
            _of_two(remarks.ambiguous_times): remarks.ambiguous_times,
            f"columns without a meaning were ignored: {', '.join(sorted(ignored))} (known are "
            f"{', '.join(sorted(COLUMNS))})": ignored,
            _of_doubt(remarks.doubtful_names): remarks.doubtful_names,
            f"a zone was stated for {', '.join(unused)}, but no time without a zone is from such a "
            "camera": unused,
        }
        return [text for text, said in found.items() if said]


@dataclass(frozen=True, slots=True)
class Values:
    """What is known of a crop; None where nothing is."""

    crop_id: str | None
    identity: str | None
    camera: str | None
    moment: Moment | None


def read_values(values: Mapping[str, object], reading: Reading, where: str = "column") -> Values:
    """Read what a row of a manifest, or the groups of a pattern, say of a crop.

    Args:
        values: by column; other columns than those of :class:`Values` do not count.
        reading: how times are read.
        where: what a column is called in messages.

    Returns:
        What is known.

    Raises:
        InvalidInput: a value breaks a rule; the message names its column.
    """
    camera = read_name(f"{where} camera", values.get("camera"))
    return Values(
        read_id(f"{where} crop_id", values.get("crop_id")),
        read_name(f"{where} identity", values.get("identity")),
        camera,
        _moment(values, reading, camera, where),
    )


def _moment(
    values: Mapping[str, object], reading: Reading, camera: str | None, where: str
) -> Moment | None:
    """When a crop was taken; None if its time is missing. Raises InvalidInput."""
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
    return f"{times} no zone and {were} read as UTC; state the zone if the clocks show another one"


def _of_doubt(names: Mapping[str, int]) -> str:
    told = ", ".join(f"{name} ({count:,} times)" for name, count in sorted(names.items()))
    return f"names that programs write for a missing value were taken as names: {told}"


def _of_two(count: int) -> str:
    times = "1 time lies" if count == 1 else f"{count:,} times lie"
    return f"{times} in an hour that the clocks showed twice; the first one was taken"
