"""Models: the networks of the service, and which one a gallery uses."""

from __future__ import annotations

from service.api import models as api
from service.api.jobs import JobRecord
from service.client.call import Call, as_model, at, get, send_json
from service.client.routes import Group, Route, Sender

_OF_GALLERY = "/galleries/{gallery}/model"


def _every() -> Call[api.KnownModels]:
    """Every model the service can run, the running one first."""
    return get("/models", api.KnownModels)


def _versions(gallery: str) -> Call[api.Versions]:
    """The versions of a gallery: the one that is searched, and those kept beside it."""
    return get(at(_OF_GALLERY, gallery=gallery), api.Versions)


def _change(gallery: str, model: str) -> Call[JobRecord]:
    """Start a job that embeds a gallery's stored pictures with another model.

    Args:
        gallery: its name.
        model: name of a model, as :meth:`Models.list` gives it.

    Returns:
        The job; its result compares the two models. Searches change only with a switch.
    """
    return send_json("POST", at(_OF_GALLERY, gallery=gallery), JobRecord, {"model": model})


def _switch(gallery: str, model: str, *, allow_missing: bool = False) -> Call[api.Versions]:
    """Search a gallery with another of its versions from now on.

    Args:
        gallery: its name.
        model: name of the version's model.
        allow_missing: leave behind crops that the model cannot embed, because they have no picture.

    Returns:
        The versions afterwards.
    """
    body = {"model": model, "allow_missing": allow_missing}
    path = at(_OF_GALLERY, gallery=gallery) + "/switch"
    return send_json("POST", path, api.Versions, body, repeat="always")


def _drop(gallery: str, sha256: str) -> Call[api.Versions]:
    """Delete a version that is not searched, for good."""
    path = at(_OF_GALLERY + "/{sha256}", gallery=gallery, sha256=sha256)
    return Call(method="DELETE", path=path, read=as_model(api.Versions))


class Models(Group[Sender]):
    """Models: the networks of the service, and which one a gallery uses."""

    list = Route(_every)
    versions = Route(_versions)
    change = Route(_change)
    switch = Route(_switch)
    drop = Route(_drop)
