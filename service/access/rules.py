"""The one table of who may do what. A route without a row keeps the service from starting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.access.caller import Scope
from service.machine.disk_reserve import ReserveUse


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks of its caller.

    Attributes:
        scope: the least scope; ``open`` needs no key.
        gallery: what a key that is bound to galleries may do with it. ``path``: the path's
            ``{gallery}`` has to be one of them. ``route``: the route asks the caller itself,
            because the name is in the body, or because it lists many. ``all``: nothing, only keys
            for all galleries may. ``none``: anything, it is about no gallery.
        audit: ``change`` is in the audit log, on the disk, before the answer leaves; ``read`` is
            written by then; ``none`` is not logged, because it tells of no person.
        share: how much of the room that is kept on the disk it may use when the disk is full:
            erasing crops and revoking keys must not fail because somebody filled it.
    """

    scope: Scope
    gallery: Literal["path", "route", "all", "none"]
    audit: Literal["change", "read", "none"]
    share: ReserveUse = "none"


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that some route, or CORS, answers."""

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
    # The page, the documentation, and what machines ask.
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
    ("GET", "/info"): _COUNTS,
    ("GET", "/models"): Rule("search", "none", "none"),
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
    # Identities.
    ("GET", f"{_GALLERY}/identities"): _LOOK,
    ("POST", f"{_GALLERY}/identities/label"): _CHANGE,
    ("POST", f"{_GALLERY}/identities/merge"): _CHANGE,
    ("POST", f"{_GALLERY}/identities/split"): _CHANGE,
    ("POST", f"{_GALLERY}/cluster"): _CHANGE,
    # Imports and jobs.
    ("POST", f"{_GALLERY}/imports"): _CHANGE,
    ("GET", "/jobs"): _COUNTS,
    ("GET", "/jobs/{job_id}"): _COUNTS,
    # Paths of files, which name people more often than not.
    ("GET", "/jobs/{job_id}/errors"): Rule("write", "route", "read"),
    ("DELETE", "/jobs/{job_id}/errors"): Rule("write", "route", "change"),
    ("POST", "/jobs/{job_id}/cancel"): Rule("write", "route", "change"),
    ("POST", "/jobs/{job_id}/resume"): Rule("write", "route", "change"),
    # Snapshots.
    ("GET", f"{_GALLERY}/snapshots"): Rule("admin", "path", "none"),
    ("POST", f"{_GALLERY}/snapshots"): _ADMIN_CHANGE,
    ("GET", f"{_GALLERY}/snapshots/{{snapshot_id}}"): _ADMIN_LOOK,
    ("DELETE", f"{_GALLERY}/snapshots/{{snapshot_id}}"): _ADMIN_ERASE,
    # Restoring into another gallery asks for that one in the route.
    ("POST", f"{_GALLERY}/snapshots/{{snapshot_id}}/restore"): _ADMIN_CHANGE,
    # The model of a gallery.
    ("GET", f"{_GALLERY}/model"): Rule("search", "path", "none"),
    ("POST", f"{_GALLERY}/model"): _ADMIN_CHANGE,
    ("POST", f"{_GALLERY}/model/switch"): _ADMIN_CHANGE,
    ("DELETE", f"{_GALLERY}/model/{{sha256}}"): _ADMIN_ERASE,
    # Keys and the audit log: a key that is bound to galleries would free itself by them.
    ("GET", "/keys"): Rule("admin", "all", "read"),
    ("POST", "/keys"): _EVERYTHING,
    ("DELETE", "/keys/{key_id}"): Rule("admin", "all", "change", "whole"),
    ("GET", "/audit"): Rule("admin", "all", "read"),
}


def template(path: str) -> str:
    """A route's path as the table and the documents write it: without convertors.

    Args:
        path: as given to the router, ``/crops/{crop_id:path}``.

    Returns:
        ``/crops/{crop_id}``.
    """
    return path.replace(":path}", "}")
