"""Closed sets of words that the API shares with the rest of the service."""

from __future__ import annotations

from typing import Literal

Origin = Literal["given", "cluster", "hand", "join"]
"""Source of a crop's identity: sent with the crop, found by clustering, set by hand, or joined."""

WarningCode = Literal[
    "unknown_camera",
    "unknown_track",
    "unknown_identity",
    "unknown_crop",
    "unknown_prefix",
    "empty_window",
    "contradiction",
    "assumed_utc",
    "ambiguous_time",
]
"""Warnings about a request that is accepted but probably a mistake."""

GroupBy = Literal["none", "identity", "track"]
"""What makes one match of several crops: nothing, their identity, or their camera and track."""

IdentityScore = Literal["best", "mean", "top3"]
"""The score of an identity: the cosine of its best crop, the mean of all, or of its best three."""

IdentityLabels = Literal["none", "of synthetic people only", "of real people", "not known"]
"""Whose identity labels a network has learned from, in its own training or before it."""

WatchFor = Literal["identities", "crops", "gallery", "unknown"]
"""Whom a watch looks for: some identities, the people on some crops, everyone with an identity, or
anyone who is none of them."""

DeliveryState = Literal["waiting", "delivered", "failed"]
"""Whether an event has reached the address of its watch; ``failed`` is final."""

JobKind = Literal["import", "cluster", "reembed"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

Scope = Literal["open", "search", "write", "admin"]
"""The most a caller may do; each scope includes those before it."""

LayoutName = Literal[
    "market1501",
    "dukemtmc",
    "msmt17",
    "mars",
    "viper",
    "cuhk01",
    "cuhk03",
    "grid",
    "ilids-vid",
    "ltcc",
    "sysu-mm01",
    "camera-first",
]
"""Built-in layouts of file names."""
