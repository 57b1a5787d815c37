"""``/models`` and ``/galleries/{gallery}/model``: the models, and which one a gallery uses."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from service.api.jobs import JobRecord
from service.api.models import (
    KnownModel,
    KnownModels,
    ModelBody,
    SwitchBody,
    UnusableModel,
    VersionRecord,
    Versions,
)
from service.errors import (
    Conflict,
    NotFound,
    Overloaded,
    StorageFull,
    TooManyRequests,
    Unavailable,
    Unsupported,
)
from service.http.dependencies import CallerOf, ClientOf, PartsOf
from service.http.problems import responses
from service.http.records import job_record
from service.jobs.job import Order
from service.wiring import Parts

router = APIRouter(tags=["models"])


@router.get("/models", responses=responses())
async def list_models(parts: PartsOf) -> KnownModels:
    """List every model that the service can run, and what it cannot run with the reason."""
    found = await parts.executors.reads.run(parts.shelf.survey)
    return KnownModels(
        models=[
            KnownModel(
                name=manifest.name,
                sha256=manifest.sha256,
                dimension=manifest.dimension,
                licence=manifest.licence,
                identity_labels=manifest.identity_labels,
                running=manifest.sha256 == parts.manifest.sha256,
            )
            for manifest in found.manifests
        ],
        unusable=[
            UnusableModel(name=name, reason=reason) for name, reason in found.unusable.items()
        ],
    )


@router.get("/galleries/{gallery}/model", responses=responses(NotFound))
async def get_versions(gallery: str, parts: PartsOf) -> Versions:
    """List the versions of a gallery: the one that is searched, and those kept beside it."""
    return await parts.executors.reads.run(_versions, parts, gallery)


@router.post(
    "/galleries/{gallery}/model",
    status_code=202,
    responses=responses(
        *(NotFound, Conflict, Unsupported, TooManyRequests, Overloaded, StorageFull, Unavailable)
    ),
)
async def change_model(
    gallery: str,
    body: ModelBody,
    parts: PartsOf,
    caller: CallerOf,
    client: ClientOf,
    response: Response,
) -> JobRecord:
    """Embed a gallery's stored pictures with another model, beside the one that is searched.

    The job's result compares the two. Searches do not change until the switch. Repeating the
    request embeds only what has changed since. If an equal job is already waiting, that job is the
    answer.
    """
    await parts.executors.reads.run(parts.model_change.check, gallery, body.model)
    spec = {"model": body.model}
    order = Order("reembed", gallery, spec, owner=caller.key_id, client=client)
    job = await parts.executors.bookkeeping.run(parts.board.place, order)
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job_record(job)


@router.post(
    "/galleries/{gallery}/model/switch",
    responses=responses(NotFound, Conflict, Unsupported, StorageFull, Unavailable),
)
async def switch_model(gallery: str, body: SwitchBody, parts: PartsOf) -> Versions:
    """Search a gallery with another of its versions from now on. This is also the way back.

    Crops written since the version was made are copied first: they are embedded while writes
    continue, and stored while writes wait briefly.
    """
    await parts.executors.background.run(
        parts.model_change.switch, gallery, body.model, allow_missing=body.allow_missing
    )
    return await parts.executors.reads.run(_versions, parts, gallery)


@router.delete(
    "/galleries/{gallery}/model/{sha256}",
    responses=responses(NotFound, Conflict, Unsupported, Unavailable),
)
async def drop_version(gallery: str, sha256: str, parts: PartsOf) -> Versions:
    """Permanently delete a version that is not searched."""
    await parts.executors.writes.run(parts.model_change.drop, gallery, sha256)
    return await parts.executors.reads.run(_versions, parts, gallery)


def _versions(parts: Parts, gallery: str) -> Versions:
    versions = parts.model_change.versions(gallery)
    return Versions(versions=[VersionRecord(**asdict(version)) for version in versions])
