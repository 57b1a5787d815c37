"""``GET /galleries/{gallery}/false-alerts``: how sure must a watch be?"""

from typing import Annotated

from fastapi import APIRouter, Query

from service.alerts.false_alerts import LEAST_PAIRS, Question, estimate, strangers_in
from service.api.false_alerts import FalseAlertQuery, FalseAlerts
from service.errors import NotFound, TooLarge, Unavailable
from service.gallery.base import Filter
from service.gallery.protocol import GalleryStore
from service.http.dependencies import ClientOf, PartsOf
from service.http.problems import responses

router = APIRouter(prefix="/galleries/{gallery}", tags=["alerts"])


@router.get("/false-alerts", responses=responses(NotFound, TooLarge, Unavailable))
async def false_alerts(
    gallery: str, query: Annotated[FalseAlertQuery, Query()], parts: PartsOf, client: ClientOf
) -> FalseAlerts:
    """Estimate the score from which a watch raises few false alerts.

    Nobody labels anything: people who were in one camera's view at one time are different people,
    and the gallery's own tracks show how alike they look.
    """
    cameras = None if query.cameras is None else frozenset(query.cameras)
    where = Filter(cameras=cameras, since=query.since, until=query.until)
    question = Question(query.people, query.per_thousand / 1000, frozenset(query.apart), where)

    threads = parts.executors.reads.of(client)
    return await threads.run(_answer, parts.store, gallery, query, question)


def _answer(
    store: GalleryStore, gallery: str, query: FalseAlertQuery, question: Question
) -> FalseAlerts:
    strangers = strangers_in(store.open(gallery), question)
    found = estimate(strangers, question)
    pairs, per_day = len(strangers.scores), strangers.per_day
    return FalseAlerts(
        people=query.people,
        per_thousand=query.per_thousand,
        tracks=len(strangers.tracks),
        pairs=pairs,
        min_score=found and found.score,
        low=found and found.low,
        high=found and found.high,
        tracks_per_day=per_day,
        alerts_per_day=None if per_day is None else per_day * question.rate,
        detail=None
        if found
        else f"{pairs} pairs of tracks are known to show two people, and an estimate needs "
        f"{LEAST_PAIRS}: name cameras that are far apart, or wait for more tracks",
    )
