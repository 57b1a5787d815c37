"""Probes, information and metrics for operators."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.ops import Alive, DetectorRecord, Info, Limits, ModelRecord, Providers
from service.errors import Unavailable
from service.http.dependencies import CallerOf, PartsOf
from service.http.problems import responses
from service.http.routes.galleries import gallery_records
from service.wiring import Parts

router = APIRouter(tags=["operations"])


@router.get("/livez")
async def livez() -> Alive:
    """Check that the process answers. If it does not, restart it."""
    return Alive()


@router.get("/readyz", responses=responses(Unavailable))
async def readyz(parts: PartsOf) -> Alive:
    """Check that the network runs and the disk accepts writes. If not, send requests elsewhere."""
    await parts.check_ready()
    return Alive()


@router.get("/info")
async def info(parts: PartsOf, request: Request, caller: CallerOf) -> Info:
    """Return version, model, providers, limits and the caller's galleries."""
    manifest = parts.manifest.model_dump()
    settings = parts.settings.model_dump()
    return Info(
        version=request.app.version,
        model=ModelRecord.model_validate(
            {name: manifest[name] for name in ModelRecord.model_fields}
        ),
        detector=_detector_record(parts),
        providers=Providers(**parts.providers),
        limits=Limits(**{name: settings[name] for name in Limits.model_fields}),
        galleries=await gallery_records(parts, caller),
    )


def _detector_record(parts: Parts) -> DetectorRecord | None:
    if (manifest := parts.detection.manifest) is None:
        return None
    known = manifest.model_dump(include=set(DetectorRecord.model_fields))
    return DetectorRecord.model_validate(known)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
async def metrics(parts: PartsOf, caller: CallerOf) -> Response:
    """Metrics for Prometheus, with gallery sizes only if the caller may see every gallery."""
    text = await parts.executors.reads.run(parts.metrics.text, galleries=caller.galleries is None)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
