"""``/galleries``: named sets of crops."""

import asyncio

from fastapi import APIRouter, Response

from service.errors import Conflict, NotFound, StorageFull
from service.forms import GalleryBody
from service.parts import Parts
from service.routes.dependencies import PartsOf
from service.routes.problems import responses
from service.schemas import Deleted, Galleries, GalleryRecord

router = APIRouter(prefix="/galleries", tags=["galleries"])


@router.get("", responses=responses())
async def list_galleries(parts: PartsOf) -> Galleries:
    """Every gallery with its counts, by name."""
    return Galleries(galleries=await gallery_records(parts))


@router.post("", status_code=201, responses=responses(Conflict, StorageFull))
async def create_gallery(body: GalleryBody, parts: PartsOf, response: Response) -> GalleryRecord:
    """Create an empty gallery for the embeddings of the running model."""
    manifest = parts.manifest
    gallery = await asyncio.to_thread(
        parts.store.create, body.name, manifest.sha256, manifest.dimension
    )
    response.headers["Location"] = f"/galleries/{body.name}"
    return GalleryRecord.of(await asyncio.to_thread(gallery.stats))


@router.get("/{gallery}", responses=responses(NotFound))
async def get_gallery(gallery: str, parts: PartsOf) -> GalleryRecord:
    """One gallery's counts; works for galleries of other models too."""
    for record in await gallery_records(parts):
        if record.name == gallery:
            return record
    raise NotFound(f"there is no gallery {gallery!r}")


@router.delete("/{gallery}", responses=responses(NotFound))
async def delete_gallery(gallery: str, parts: PartsOf) -> Deleted:
    """Delete a gallery and every crop in it, for good."""
    return Deleted(deleted=await asyncio.to_thread(parts.store.delete, gallery))


async def gallery_records(parts: Parts) -> list[GalleryRecord]:
    """Every gallery with its counts, by name."""
    return [GalleryRecord.of(stats) for stats in await asyncio.to_thread(parts.store.stats)]
