"""SCL's three banks, and what they say of a batch (Pang et al., TOMM 2022, arXiv 2010.07608).

The global and the local bank hold every crop's features and choose, by distance, a crop's positives
and negatives; the mixture bank M holds what the loss compares with.

Letters: N crops, B of them in a batch, K positives beside the crop itself, n negatives, D_g and D_l
dimensions, S stripes with S * D_l = D_g. "Local feature" here is a crop's S stripes side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from service.errors import InvalidInput
from training.core.options import SclOptions
from training.scl.network import Features

# More than any distance inside a site, so that crops of another site rank last.
_OTHER_SITE = 1e3


class Selection(NamedTuple):
    """What each crop of a batch is compared with.

    Attributes:
        positives: (B, 1 + K) int64, the crop itself first, then nearest first; (B, 1) in warm-up.
        negatives: (B, n) int64; (B, n + K) in warm-up.
    """

    positives: Tensor
    negatives: Tensor

    @property
    def compared(self) -> Tensor:
        """(B, Q) int64, the positives first."""
        return torch.cat(self, dim=1)


class Banks(NamedTuple):
    """One row a crop, in float32 on the network's device.

    Attributes:
        whole: (N, D_g), the global bank, unit rows.
        stripes: (N, S, D_l), the local bank, unit rows.
        mixture: (N, D_g), the mixture bank: zero until a crop is written, then unit rows.
    """

    whole: Tensor
    stripes: Tensor
    mixture: Tensor

    @classmethod
    def fill(cls, features: Features) -> Self:
        """Banks before the first epoch, from the features of all crops."""
        return cls(features.whole, features.stripes, torch.zeros_like(features.whole))


class SelectiveContrast:
    """The banks of a run at work.

    Args:
        banks: of all N crops; changed in place.
        cameras: (N,) int64, on the same device.
        sites: (N,) int64, likewise: crops of two sites never show the same person.
        options: of the method.

    Raises:
        InvalidInput: a crop has fewer than K others to choose from, or none is left as a negative.
    """

    def __init__(self, banks: Banks, cameras: Tensor, sites: Tensor, options: SclOptions) -> None:
        self.banks = banks
        self._cameras, self._sites = cameras, sites
        self._options = options
        # n is clipped to what is left beside the crop and its positives, as in the released code.
        self._negatives = min(options.negatives, len(cameras) - options.positives - 1)
        smallest = int(torch.unique(sites, return_counts=True)[1].min())
        if smallest <= options.positives or self._negatives < 1:
            raise InvalidInput(
                f"selective.positives = {options.positives}, but a site has only {smallest} crops "
                f"and the run {len(cameras)}: too few for a crop, its positives and a negative"
            )

    def distances(self, indices: Tensor, features: Features) -> Tensor:
        """How far the batch is from every crop.

        d = lambda_g |g - G|^2 + (1 - lambda_g) / S * sum over stripes of |l_s - L_s|^2
        + lambda_c [same camera], by cosines since all rows have unit length.

        Args:
            indices: (B,) int64 of the batch.
            features: of the batch.

        Returns:
            (B, N) float32; another site's crops are out of reach.
        """
        options, share = self._options, self._options.global_weight
        local = features.stripes.flatten(1) @ self.banks.stripes.flatten(1).T
        cosines = share * (features.whole @ self.banks.whole.T)
        cosines += (1 - share) / options.stripes * local
        same_camera = self._cameras[indices, None] == self._cameras
        other_site = self._sites[indices, None] != self._sites
        return 2 - 2 * cosines + options.camera_weight * same_camera + _OTHER_SITE * other_site

    @torch.no_grad()
    def select(self, indices: Tensor, features: Features) -> Selection:
        """The K nearest are positives, the n next nearest negatives; who is further is ignored.

        Args:
            indices: (B,) int64 of the batch.
            features: of the batch.

        Returns:
            The selection.
        """
        distances = self.distances(indices, features)
        distances.scatter_(1, indices[:, None], torch.inf)
        positives = self._options.positives
        nearest = distances.topk(positives + self._negatives, largest=False).indices
        own = indices[:, None]
        return Selection(torch.cat([own, nearest[:, :positives]], dim=1), nearest[:, positives:])

    def select_any(self, indices: Tensor, order: Tensor) -> Selection:
        """Warm-up: the crop is its own only positive, anyone else a negative.

        The batch shares one shuffled list. Which of its first n + K + 1 entries a crop leaves out
        is ``warmup_negatives``: itself, or, as the released code slipped, the entry whose
        *position* is the crop's index, so that a crop may be its own negative.

        Args:
            indices: (B,) int64 of the batch.
            order: (N,) int64, all crops shuffled.

        Returns:
            The selection.
        """
        match self._options.warmup_negatives:
            case "others":
                left_out = order.argsort()[indices]
            case "released":
                left_out = indices
        places = torch.arange(self._options.positives + self._negatives, device=order.device)
        return Selection(indices[:, None], order[places + (places >= left_out[:, None]).long()])

    def loss(self, features: Features, selection: Selection) -> Tensor:
        """lambda_p ell(l) + (1 - lambda_p) ell(g): both branches against the same mixture rows.

        Args:
            features: of the batch.
            selection: for the batch.

        Returns:
            Scalar. Its backward pass writes the mixture bank where ``mixture_writes`` says
            ``released``, else nothing does before :meth:`update`.
        """
        local, mixture, options = features.stripes.flatten(1), self.banks.mixture, self._options
        match options.mixture_writes:
            case "after":
                return _mixed_loss(features.whole, local, mixture, selection, options)
            case "released":
                loss = _WritingLoss.apply(features.whole, local, mixture, selection, options)
                return cast("Tensor", loss)

    @torch.no_grad()
    def update(self, indices: Tensor, features: Features, selection: Selection) -> None:
        """Take the batch in, after its gradient.

        Args:
            indices: (B,) int64 of the batch.
            features: of the forward pass, detached.
            selection: for the batch.
        """
        if self._options.mixture_writes == "after":
            for feature in (features.stripes.flatten(1), features.whole):
                for positives in reversed(selection.positives.unbind(1)):
                    _write(self.banks.mixture, positives, feature)
        kept = self._options.bank_momentum
        for bank, new in (
            (self.banks.whole, features.whole),
            (self.banks.stripes, features.stripes),
        ):
            bank[indices] = F.normalize(kept * bank[indices] + (1 - kept) * new, dim=-1)


def positive_weights(count: int, options: SclOptions) -> Tensor:
    """w_0 = lambda_t for the crop itself, alpha (1 - lambda_t) / K for each other positive.

    Args:
        count: positives, the crop itself included.
        options: of the method.

    Returns:
        (count,) float32.
    """
    own = options.self_weight
    other = options.positive_weight * (1 - own) / options.positives
    return torch.tensor([own] + [other] * (count - 1))


def multi_positive_loss(
    feature: Tensor, mixture: Tensor, selection: Selection, options: SclOptions
) -> Tensor:
    """ell(x) = sum over positives j of w_j * -log softmax(z)_j, with z = t <M, x>.

    One softmax over all positives and negatives, so that positives compete and ell has a floor
    above 0. The local feature has length sqrt(S), so its logits are that much larger than the
    global feature's: in effect another temperature, as in the released code.

    Args:
        feature: (B, D_g) float32: global, or local with its stripes side by side.
        mixture: (N, D_g) float32.
        selection: for the batch.
        options: of the method.

    Returns:
        Scalar, the batch's mean.
    """
    logits = _logits(feature, mixture, selection, options)
    count = selection.positives.shape[1]
    terms = -F.log_softmax(logits, dim=1)[:, :count]
    return (terms @ positive_weights(count, options).to(terms)).mean()


def _logits(feature: Tensor, mixture: Tensor, selection: Selection, options: SclOptions) -> Tensor:
    return (feature @ mixture.T).gather(1, selection.compared) / options.temperature  # (B, Q)


def _mixed_loss(
    whole: Tensor, local: Tensor, mixture: Tensor, selection: Selection, options: SclOptions
) -> Tensor:
    share = options.local_weight
    of_local = multi_positive_loss(local, mixture, selection, options)
    return share * of_local + (1 - share) * multi_positive_loss(whole, mixture, selection, options)


def _write(mixture: Tensor, rows: Tensor, features: Tensor) -> None:
    """M_p <- unit((M_p + x) / 2), crop after crop: two crops may share a neighbour."""
    for row, feature in zip(rows.tolist(), features, strict=True):
        mixture[row] = F.normalize(mixture[row] + feature, dim=0)


class _WritingLoss(torch.autograd.Function):
    """The released order: each positive is a step of the backward pass that reads M, then writes.

    Local before global, the furthest positive first, so that later steps see earlier writes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        whole: Tensor,
        local: Tensor,
        mixture: Tensor,
        selection: Selection,
        options: SclOptions,
    ) -> Tensor:
        ctx.released = (whole.detach(), local.detach(), mixture, selection, options)
        return _mixed_loss(whole, local, mixture, selection, options)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        whole, local, mixture, selection, options = ctx.released
        # Both branches were compared with the rows of the forward pass: before the first write.
        of_local, of_whole = (
            F.softmax(_logits(feature, mixture, selection, options), dim=1)
            for feature in (local, whole)
        )
        for_local = _write_backwards(local, of_local, mixture, selection, options)
        for_whole = _write_backwards(whole, of_whole, mixture, selection, options)
        share = options.local_weight
        return outer * (1 - share) * for_whole, outer * share * for_local, None, None, None


def _write_backwards(
    feature: Tensor,
    probabilities: Tensor,
    mixture: Tensor,
    selection: Selection,
    options: SclOptions,
) -> Tensor:
    """Gradient of ell, positive after positive, and the writes between; (B, D_g)."""
    gradient = torch.zeros_like(feature)
    weights = positive_weights(selection.positives.shape[1], options)
    scale = 1 / (options.temperature * len(feature))
    for place, positives in reversed(list(enumerate(selection.positives.unbind(1)))):
        error = probabilities.clone()
        error[:, place] -= 1
        rows = mixture[selection.compared]  # (B, Q, D_g), with the writes so far
        gradient += weights[place] * scale * torch.einsum("bq,bqd->bd", error, rows)
        _write(mixture, positives, feature)
    return gradient
