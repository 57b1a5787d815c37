"""Closed lists of words that the API shares with the rooms behind it."""

from __future__ import annotations

from typing import Literal

Origin = Literal["given", "cluster", "hand"]
"""Where a crop's identity comes from: sent with the crop, made by a clustering, or corrected."""

WarningCode = Literal[
    "unknown_camera",
    "unknown_identity",
    "unknown_crop",
    "unknown_prefix",
    "empty_window",
    "contradiction",
    "assumed_utc",
    "ambiguous_time",
]
"""What is odd about a request that is allowed all the same."""

IdentityScore = Literal["best", "mean", "top3"]
"""What ranks an identity: the cosine of its best crop, or the mean of all or of its best three."""

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
