"""Measurements of a model: its accuracy, and how its scores become probabilities."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class FrozenRecord(BaseModel):
    """An immutable record that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(FrozenRecord):
    """How a cosine becomes a probability, and the default threshold of a match.

    ``P(same identity) = 1 / (1 + exp(-(slope * cosine + intercept)))`` (Platt 1999), fitted on
    cross-camera pairs of identities that the network was not trained on. It holds for pairs of
    which half are genuine. Without labels no pair is known to be genuine: then there is a
    threshold, but no probability.
    """

    slope: float | None = Field(gt=0.0, description="null if no genuine pairs are known")
    intercept: float | None = Field(description="null if no genuine pairs are known")
    threshold: float = Field(ge=-1.0, le=1.0, description="default min_score: a cosine")
    false_match_rate: Fraction = Field(description="impostor pairs at or above the threshold")
    true_match_rate: Fraction | None = Field(
        description="genuine pairs at or above the threshold; null if none are known"
    )
    genuine_pairs: int = Field(ge=0)
    impostor_pairs: int = Field(ge=1)
    data: str

    @model_validator(mode="after")
    def _probability_needs_genuine_pairs(self) -> Self:
        fitted = [self.slope, self.intercept, self.true_match_rate]
        if any((value is None) != (self.genuine_pairs == 0) for value in fitted):
            raise ValueError(
                "slope, intercept and true_match_rate must be null if genuine_pairs is 0, and "
                f"numbers otherwise; genuine_pairs is {self.genuine_pairs}"
            )
        return self

    def probability(self, score: float) -> float | None:
        """Compute the probability that two crops with this cosine show the same identity.

        Args:
            score: cosine, -1..1.

        Returns:
            A probability, 0..1, for any slope; None if no genuine pairs are known.
        """
        if self.slope is None or self.intercept is None:
            return None
        log_odds = self.slope * float(score) + self.intercept
        # A large positive exponent would overflow; a very negative one becomes 0.
        smaller = math.exp(-abs(log_odds))
        return (1.0 if log_odds >= 0.0 else smaller) / (1.0 + smaller)

    def false_alert_rate(self, score: float) -> float:
        """Bound the share of comparisons with other people that reach a score.

        The bound holds for every distribution of scores: the calibrated odds are the ratio of two
        likelihoods, and of pairs that show two people at most a share r has a ratio of 1/r or more.
        From the model's threshold on, the rate that was measured there is one too.

        Args:
            score: cosine, -1..1.

        Returns:
            At most this share, 0..1; 1 if nothing is known below the threshold.
        """
        bounds = [1.0]
        if score >= self.threshold:
            bounds.append(self.false_match_rate)
        if self.slope is not None and self.intercept is not None:
            bounds.append(math.exp(min(0.0, -(self.slope * float(score) + self.intercept))))
        return min(bounds)


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
