"""What operators ask: is it alive, is it ready, what is it, what has it done?"""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.ops import Alive, Info, Limits, ModelRecord, Providers
from service.errors import Unavailable
from service.http.dependencies import CallerOf, PartsOf
from service.http.problems import responses
from service.http.routes.galleries import gallery_records

router = APIRouter(tags=["operations"])


@router.get("/livez")
async def livez() -> Alive:
    """The process answers; a failure means that it should be restarted."""
    return Alive()


@router.get("/readyz", responses=responses(Unavailable))
async def readyz(parts: PartsOf) -> Alive:
    """The network runs and the disk takes writes; a failure means that requests should wait."""
    await parts.check_ready()
    return Alive()


@router.get("/info")
async def info(parts: PartsOf, request: Request, caller: CallerOf) -> Info:
    """Version, model, providers, limits and the caller's galleries."""
    manifest = parts.manifest.model_dump()
    settings = parts.settings.model_dump()
    return Info(
        version=request.app.version,
        model=ModelRecord.model_validate(
            {name: manifest[name] for name in ModelRecord.model_fields}
        ),
        providers=Providers(**parts.providers),
        limits=Limits(**{name: settings[name] for name in Limits.model_fields}),
        galleries=await gallery_records(parts, caller),
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def metrics(parts: PartsOf, caller: CallerOf) -> Response:
    """Counters for Prometheus; the sizes of galleries only where the caller may see all of them."""
    text = await parts.executors.reads.run(parts.metrics.text, galleries=caller.galleries is None)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
