"""SCL's three banks, and selection and loss by them (Pang et al., TOMM 2022, arXiv 2010.07608).

The global and the local bank hold the features of all crops; a crop's positives and negatives are
selected by the distance to them. The loss compares a crop with the rows of the mixture bank M.

Letters: N crops, B of them in a batch, K positives beside the crop itself, n negatives, D_g and D_l
dimensions, S stripes with S * D_l = D_g. A "local feature" here is a crop's S stripes side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from service.errors import InvalidInput
from training.core.method_options import SclOptions
from training.scl.network import Features

# Exceeds any distance inside a site, so that crops of another site rank last.
_OTHER_SITE = 1e3


class Selection(NamedTuple):
    """The crops that each crop of a batch is compared with.

    Attributes:
        positives: (B, 1 + K) int64, the crop itself, then the nearest first; (B, 1) in warm-up.
        negatives: (B, n) int64; (B, n + K) in warm-up.
    """

    positives: Tensor
    negatives: Tensor

    @property
    def compared(self) -> Tensor:
        """(B, Q) int64, the positives first."""
        return torch.cat(self, dim=1)


class Banks(NamedTuple):
    """One row per crop, in float32 on the network's device.

    Attributes:
        whole: (N, D_g), the global bank, unit rows.
        stripes: (N, S, D_l), the local bank, unit rows.
        mixture: (N, D_g), the mixture bank: a row is zero until it is first written, then unit.
    """

    whole: Tensor
    stripes: Tensor
    mixture: Tensor

    @classmethod
    def fill(cls, features: Features) -> Self:
        """Fill the banks before the first epoch with the features of all crops."""
        return cls(features.whole, features.stripes, torch.zeros_like(features.whole))


class SelectiveContrast:
    """Selects what a batch is compared with, computes the loss, and updates the banks.

    Args:
        banks: of all N crops; changed in place.
        cameras: (N,) int64, on the same device.
        sites: (N,) int64, likewise: crops of different sites never show the same person.
        options: the method's options.

    Raises:
        InvalidInput: a crop has fewer than K others to choose from, or no crop remains as negative.
    """

    def __init__(self, banks: Banks, cameras: Tensor, sites: Tensor, options: SclOptions) -> None:
        self.banks = banks
        self._cameras, self._sites = cameras, sites
        self._options = options
        # As in the released code, n is limited to the crops that are left beside the positives.
        self._negatives = min(options.negatives, len(cameras) - options.positives - 1)
        smallest = int(torch.unique(sites, return_counts=True)[1].min())
        if smallest <= options.positives or self._negatives < 1:
            raise InvalidInput(
                f"selective.positives = {options.positives}, but a site has only {smallest} crops "
                f"and the run {len(cameras)}: too few for a crop, its positives and a negative"
            )

    def distances(self, indices: Tensor, features: Features) -> Tensor:
        """Compute the distance from the batch to every crop.

        d = lambda_g |g - G|^2 + (1 - lambda_g) / S * sum over stripes of |l_s - L_s|^2
        + lambda_c [same camera], computed by cosines because all rows have unit length.

        Args:
            indices: (B,) int64, the batch's crops.
            features: the batch's features.

        Returns:
            (B, N) float32; crops of other sites are farther than any crop of the same site.
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
        """Select the K nearest as positives and the n next nearest as negatives.

        Args:
            indices: (B,) int64, the batch's crops.
            features: the batch's features.

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
        """Select for the warm-up: a crop is its own only positive, random crops are negatives.

        The batch shares one shuffled list, and each crop leaves out one of the first n + K + 1
        entries. ``warmup_negatives`` decides which: the crop itself, or, by a mistake in the
        released code, the entry whose *position* is the crop's index. Then a crop may be its own
        negative.

        Args:
            indices: (B,) int64, the batch's crops.
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
        """Compute lambda_p ell(l) + (1 - lambda_p) ell(g), both against the same mixture rows.

        Args:
            features: the batch's features.
            selection: what the batch is compared with.

        Returns:
            Scalar. With ``mixture_writes = "released"`` its backward pass writes the mixture bank;
            otherwise only :meth:`update` does.
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
        """Write the batch into the banks, after the gradient step on it.

        Args:
            indices: (B,) int64, the batch's crops.
            features: the features of the forward pass, detached.
            selection: what the batch was compared with.
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
    """Weights: w_0 = lambda_t for the crop itself, alpha (1 - lambda_t) / K for other positives.

    Args:
        count: number of positives, including the crop itself.
        options: the method's options.

    Returns:
        (count,) float32.
    """
    own = options.self_weight
    other = options.positive_weight * (1 - own) / options.positives
    return torch.tensor([own] + [other] * (count - 1))


def multi_positive_loss(
    feature: Tensor, mixture: Tensor, selection: Selection, options: SclOptions
) -> Tensor:
    """Compute ell(x) = sum over positives j of w_j * -log softmax(z)_j, with z = t <M, x>.

    There is one softmax over all positives and negatives, so positives compete and ell cannot reach
    0. The local feature has length sqrt(S), so its logits are larger than the global feature's by
    that factor. In effect it has another temperature, as in the released code.

    Args:
        feature: (B, D_g) float32: global, or local with its stripes side by side.
        mixture: (N, D_g) float32.
        selection: what the batch is compared with.
        options: the method's options.

    Returns:
        Scalar, the mean over the batch.
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
    """M_p <- unit((M_p + x) / 2), one crop at a time because two crops may share a neighbour."""
    for row, feature in zip(rows.tolist(), features, strict=True):
        mixture[row] = F.normalize(mixture[row] + feature, dim=0)


class _WritingLoss(torch.autograd.Function):
    """The released order: for each positive, the backward pass reads M and then writes it.

    Local comes before global and the farthest positive first, so later steps see earlier writes.
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
        # Both branches were compared with the rows as they were before the first write.
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
    """Gradient of ell, (B, D_g), one positive at a time, with the writes in between."""
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
