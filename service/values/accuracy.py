"""Measurements of a model: its accuracy, and how its scores become probabilities."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class FrozenRecord(BaseModel):
    """An immutable record that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(FrozenRecord):
    """How a cosine becomes a probability, and the default threshold of a match.

    ``P(same identity) = 1 / (1 + exp(-(slope * cosine + intercept)))`` (Platt 1999), fitted on
    cross-camera pairs of identities that the network was not trained on. It holds for pairs of
    which half are genuine.
    """

    slope: float = Field(gt=0.0)
    intercept: float
    threshold: float = Field(ge=-1.0, le=1.0, description="default min_score: a cosine")
    false_match_rate: Fraction = Field(description="impostor pairs at or above the threshold")
    true_match_rate: Fraction = Field(description="genuine pairs at or above the threshold")
    genuine_pairs: int = Field(ge=1)
    impostor_pairs: int = Field(ge=1)
    data: str

    def probability(self, score: float) -> float:
        """Compute the probability that two crops with this cosine show the same identity.

        Args:
            score: cosine, -1..1.

        Returns:
            A probability, 0..1, for any slope.
        """
        log_odds = self.slope * float(score) + self.intercept
        # A large positive exponent would overflow; a very negative one becomes 0.
        smaller = math.exp(-abs(log_odds))
        return (1.0 if log_odds >= 0.0 else smaller) / (1.0 + smaller)


class Accuracy(FrozenRecord):
    """One measurement of the model card; fractions are 0..1, mAP is the finite-sum form."""

    data: str
    protocol: Literal["market1501", "cross-camera"]
    rerank: bool = False
    map: Fraction
    rank1: Fraction
    rank5: Fraction
    rank10: Fraction
    queries: int
    skipped: int = Field(default=0, ge=0, description="queries without a match; not counted")
    gallery: int
