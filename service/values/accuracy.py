"""What was measured of a model: its accuracy, and how its scores become probabilities."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class FrozenRecord(BaseModel):
    """A record that cannot change and takes no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(FrozenRecord):
    """How a cosine becomes a probability, and where the service draws the line.

    ``P(same identity) = 1 / (1 + exp(-(slope * cosine + intercept)))``, fitted on cross-camera
    pairs of identities the network was not trained on (Platt 1999), for a pair drawn from both
    kinds equally often.
    """

    slope: float = Field(gt=0.0)
    intercept: float
    threshold: float = Field(ge=-1.0, le=1.0, description="default min_score: a cosine")
    false_match_rate: Share = Field(description="impostor pairs at or above the threshold")
    true_match_rate: Share = Field(description="genuine pairs at or above the threshold")
    genuine_pairs: int = Field(ge=1)
    impostor_pairs: int = Field(ge=1)
    data: str

    def probability(self, score: float) -> float:
        """Probability that two crops with this cosine show the same identity.

        Args:
            score: cosine, -1..1.

        Returns:
            A probability, 0..1, however steep the calibration is.
        """
        log_odds = self.slope * float(score) + self.intercept
        # The exponent is never positive: a large one overflows, a very negative one becomes 0.
        smaller = math.exp(-abs(log_odds))
        return (1.0 if log_odds >= 0.0 else smaller) / (1.0 + smaller)


class Accuracy(FrozenRecord):
    """One measured line of the model's card; shares are 0..1, mAP is the finite-sum form."""

    data: str
    protocol: Literal["market1501", "cross-camera"]
    rerank: bool = False
    map: Share
    rank1: Share
    rank5: Share
    rank10: Share
    queries: int
    skipped: int = Field(default=0, ge=0, description="queries without a match; not counted")
    gallery: int
