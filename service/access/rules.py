"""The table of who may do what. The service does not start if a route has no row in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.access.caller import Scope
from service.machine.disk_reserve import ReserveUse


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route requires of its caller.

    Attributes:
        scope: the minimum scope; ``open`` needs no key.
        gallery: how a key that is bound to galleries is checked. ``path``: the path's ``{gallery}``
            must be one of them. ``route``: the route checks, because the name is in the body or it
            lists many galleries. ``all``: only keys for all galleries are allowed. ``none``: the
            route concerns no gallery, so any key is allowed.
        audit: ``change`` is synced to the audit log on disk before the answer is sent; ``read`` is
            written before the answer is sent; ``none`` is not logged, because it reveals nothing
            about a person.
        share: how much of the reserved disk space it may use when the disk is full: erasing crops
            and revoking keys must not fail because somebody filled the disk.
    """

    scope: Scope
    gallery: Literal["path", "route", "all", "none"]
    audit: Literal["change", "read", "none"]
    share: ReserveUse = "none"


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that a route, or CORS, answers."""

_OPEN = Rule("open", "none", "none")
_COUNTS = Rule("search", "route", "none")
_LOOK = Rule("search", "path", "read")
_CHANGE = Rule("write", "path", "change")
_ERASE = Rule("write", "path", "change", "shared")
_ADMIN_LOOK = Rule("admin", "path", "read")
_ADMIN_CHANGE = Rule("admin", "path", "change")
_ADMIN_ERASE = Rule("admin", "path", "change", "shared")
_EVERYTHING = Rule("admin", "all", "change")

_GALLERY = "/galleries/{gallery}"

RULES: dict[tuple[str, str], Rule] = {
    # The page, the documentation, and endpoints for monitoring.
    ("GET", "/"): _OPEN,
    ("GET", "/web"): _OPEN,
    ("GET", "/docs"): _OPEN,
    ("GET", "/docs/assets"): _OPEN,
    ("GET", "/openapi.json"): _OPEN,
    ("GET", "/livez"): _OPEN,
    ("GET", "/readyz"): _OPEN,
    ("GET", "/metrics"): Rule("open", "route", "none"),
    ("GET", "/whoami"): _OPEN,
    # Search.
    ("POST", "/search"): Rule("search", "route", "read"),
    ("POST", "/embed"): Rule("search", "none", "read"),
    ("POST", "/detect"): Rule("search", "none", "read"),
    ("GET", "/info"): _COUNTS,
    ("GET", "/models"): Rule("search", "none", "none"),
    ("POST", f"{_GALLERY}/seen"): _LOOK,
    # Galleries.
    ("GET", "/galleries"): _COUNTS,
    ("POST", "/galleries"): Rule("admin", "route", "change"),
    ("GET", _GALLERY): Rule("search", "path", "none"),
    ("PATCH", _GALLERY): _ADMIN_CHANGE,
    ("DELETE", _GALLERY): _ADMIN_ERASE,
    # Crops.
    ("GET", f"{_GALLERY}/crops"): _LOOK,
    ("POST", f"{_GALLERY}/crops"): _CHANGE,
    ("POST", f"{_GALLERY}/crops/delete"): _ERASE,
    ("GET", f"{_GALLERY}/crops/{{crop_id}}"): _LOOK,
    ("PUT", f"{_GALLERY}/crops/{{crop_id}}"): _CHANGE,
    ("DELETE", f"{_GALLERY}/crops/{{crop_id}}"): _ERASE,
    ("GET", f"{_GALLERY}/pictures/{{crop_id}}"): _LOOK,
    ("POST", f"{_GALLERY}/frames"): _CHANGE,
    # Identities.
    ("GET", f"{_GALLERY}/identities"): _LOOK,
    ("POST", f"{_GALLERY}/identities/label"): _CHANGE,
    ("POST", f"{_GALLERY}/identities/merge"): _CHANGE,
    ("POST", f"{_GALLERY}/identities/split"): _CHANGE,
    ("POST", f"{_GALLERY}/cluster"): _CHANGE,
    # Watches and events.
    ("GET", f"{_GALLERY}/watches"): _LOOK,
    # If it compares with another gallery, the route checks that gallery, here and below.
    ("POST", f"{_GALLERY}/watches"): _CHANGE,
    ("GET", f"{_GALLERY}/watches/{{watch_id}}"): _LOOK,
    ("DELETE", f"{_GALLERY}/watches/{{watch_id}}"): _CHANGE,
    ("GET", f"{_GALLERY}/false-alerts"): Rule("search", "path", "none"),
    ("GET", f"{_GALLERY}/events"): _LOOK,
    ("GET", f"{_GALLERY}/events/stream"): _LOOK,
    ("POST", f"{_GALLERY}/events/{{event_id}}/deliver"): _CHANGE,
    # Imports and jobs.
    ("POST", f"{_GALLERY}/imports"): _CHANGE,
    ("GET", "/jobs"): _COUNTS,
    ("GET", "/jobs/{job_id}"): _COUNTS,
    # File paths, which often contain people's names.
    ("GET", "/jobs/{job_id}/errors"): Rule("write", "route", "read"),
    ("DELETE", "/jobs/{job_id}/errors"): Rule("write", "route", "change"),
    ("POST", "/jobs/{job_id}/cancel"): Rule("write", "route", "change"),
    ("POST", "/jobs/{job_id}/resume"): Rule("write", "route", "change"),
    # Snapshots.
    ("GET", f"{_GALLERY}/snapshots"): Rule("admin", "path", "none"),
    ("POST", f"{_GALLERY}/snapshots"): _ADMIN_CHANGE,
    ("GET", f"{_GALLERY}/snapshots/{{snapshot_id}}"): _ADMIN_LOOK,
    ("DELETE", f"{_GALLERY}/snapshots/{{snapshot_id}}"): _ADMIN_ERASE,
    # When restoring into another gallery, the route checks that gallery.
    ("POST", f"{_GALLERY}/snapshots/{{snapshot_id}}/restore"): _ADMIN_CHANGE,
    # The model of a gallery.
    ("GET", f"{_GALLERY}/model"): Rule("search", "path", "none"),
    ("POST", f"{_GALLERY}/model"): _ADMIN_CHANGE,
    ("POST", f"{_GALLERY}/model/switch"): _ADMIN_CHANGE,
    ("DELETE", f"{_GALLERY}/model/{{sha256}}"): _ADMIN_ERASE,
    # Keys and the audit log: with these, a key bound to galleries could create an unbound key.
    ("GET", "/keys"): Rule("admin", "all", "read"),
    ("POST", "/keys"): _EVERYTHING,
    ("DELETE", "/keys/{key_id}"): Rule("admin", "all", "change", "whole"),
    ("GET", "/audit"): Rule("admin", "all", "read"),
}


def template(path: str) -> str:
    """Remove the convertors from a route's path, as the table and the documents write it.

    Args:
        path: the router's path, such as ``/crops/{crop_id:path}``.

    Returns:
        ``/crops/{crop_id}``.
    """
    return path.replace(":path}", "}")
