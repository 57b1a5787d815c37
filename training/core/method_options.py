"""The options of the methods: clustering and memories (HHCL), and SCL, each with its rule.

Options that stand for a symbol of a paper name the symbol.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.core.options import STRICT, Positive, Share

Nearest = Literal["exact", "graph"]

MOST_HARD_LINKS = 0.5  # of the worse half, most are wrong, so soft links leave them open


@dataclass(frozen=True, config=STRICT)
class ClusterOptions:
    """How an epoch's pseudo-labels are made.

    Attributes:
        scheme: ``dbscan`` over all crops together, as in the paper; ``infomap``, communities in the
            graph of each crop's nearest by cosine (Rosvall and Bergstrom 2008), as in Cluster
            Contrast; ``camera-link``, clusters inside each camera, then linked across cameras.
        k1: number of k-reciprocal neighbours, or for ``infomap`` of the nearest by cosine,
            including the crop itself.
        nearest: how each crop's nearest are found: ``exact``; or ``graph``, by HNSW over principal
            components, which lacks some and takes less time from some 30,000 crops on. Needs
            FAISS, and not ``infomap``: SWIG, which made both packages, mixes up their iterators.
        k2: number of crops that query expansion averages, including the crop itself; ``infomap``
            has no expansion.
        eps: DBSCAN's radius on the Jaccard distance; for ``infomap`` the largest 1 - cosine.
        min_samples: number of crops within eps, including itself, that make a crop a core crop;
            for ``infomap`` the size of the smallest cluster.
        link_first: for ``camera-link``, share of the links used in the first epoch, best first.
        link_last: the same for the last epoch; in between the share grows linearly.
        link_last_epoch: number of the epoch from which ``link_last`` holds; 0 means after the last
            one, so that the share grows for as long as the run.
        link_score: how the similarity of clusters of different cameras is computed:
            ``local-scaling`` of cosines (Conneau et al. 2018); ``sinkhorn``, a balanced assignment
            (Cuturi 2013); or ``consensus``, which also asks whether partners' neighbours are
            partners, and learns from the better half of the links how two cameras differ.
        links: for ``camera-link``: ``hard`` joins all linked clusters; ``soft`` joins at most half
            of the links and gives every cluster the most likely partners in each other camera, as
            weighted positives of the proxy loss, so ``memory.proxy_weight`` must be above 0.
        soft_partners: for soft links, number of partners of a cluster in each other camera.
        left_out: for soft links, number of the most likely partners in each other camera that are
            no negatives either; at least ``soft_partners``.
        tracks: bring all crops of a track into one cluster, if a manifest gives tracks.
        frames: keep the people of one frame in different clusters, if a manifest gives frames.
        dustbin: for soft links, similarity at which nobody is as likely as a partner (Sarlin et
            al., CVPR 2020). None finds it for each two cameras, without labels.
    """

    scheme: Literal["dbscan", "infomap", "camera-link"] = "dbscan"
    k1: Positive = 30
    nearest: Nearest = "exact"
    k2: Positive = 6
    eps: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.45
    min_samples: Positive = 4
    link_first: Share = 1.0
    link_last: Share = 1.0
    link_last_epoch: Annotated[int, Field(ge=0)] = 0
    link_score: Literal["local-scaling", "sinkhorn", "consensus"] = "local-scaling"
    links: Literal["hard", "soft"] = "hard"
    soft_partners: Positive = 5
    left_out: Positive = 20
    tracks: bool = True
    frames: bool = True
    dustbin: Annotated[float, Field(ge=-1.0, le=1.0)] | None = None

    def __post_init__(self) -> None:
        """Check that most links stay soft, that no positive is a negative, and who can meet."""
        if self.links == "soft" and max(self.link_first, self.link_last) > MOST_HARD_LINKS:
            raise ValueError(
                f"link_first is {self.link_first} and link_last is {self.link_last}, must be at "
                f"most {MOST_HARD_LINKS} if links is soft"
            )
        if self.left_out < self.soft_partners:
            raise ValueError(
                f"left_out is {self.left_out}, must be at least soft_partners = "
                f"{self.soft_partners}"
            )
        if self.scheme == "infomap" and self.nearest == "graph":
            raise ValueError(
                'nearest is "graph", must be "exact" if scheme is "infomap": the packages faiss '
                "and infomap can crash each other"
            )


@dataclass(frozen=True, config=STRICT)
class MemoryOptions:
    """The cluster memory, and how batches are contrasted with it.

    Attributes:
        kind: ``hybrid`` (the released recipe, CMhybrid), ``hybrid-instances`` (the paper's instance
            memory, CMhybrid_v2), ``centroid`` (CM) or ``hardest`` (CMhard).
        weighting: ``released`` weights hard and mean prototypes 0.5 and 0.25, as the code behind
            the published numbers does; ``convex`` 0.5 and 0.5, as in the paper's formula.
        temperature: tau.
        momentum: m, the share of the old row that an update keeps.
        negatives: ``all`` contrasts a crop with every other cluster, as in the paper;
            ``same-camera`` only with clusters that its own camera saw. A cluster that only other
            cameras saw may show the same person, not linked yet, and pushing it away would keep the
            two apart.
        smoothing: label smoothing with 0.1, over the highest-scoring fiftieth of the clusters.
        camera_entropy: weight a crop by the entropy of its cluster's cameras in the batch (3C).
        proxy_weight: weight of the additional inter-camera proxy loss (PPLR, ICE); 0 is off.
        proxy_temperature: tau of the proxy loss.
        proxy_negatives: number of the hardest negative proxies in the proxy loss.
        triplet_weight: weight of an additional batch-hard triplet loss; 0 is off.
        triplet_margin: of the triplet loss; 0 means the soft margin.
        first_crops: number of crops of each synthetic identity, drawn anew in every epoch, whose
            mean its rows start from. To embed all would take long, and the rows soon follow the
            batches.
    """

    kind: Literal["hybrid", "hybrid-instances", "centroid", "hardest"] = "hybrid"
    weighting: Literal["released", "convex"] = "released"
    temperature: Annotated[float, Field(gt=0.0)] = 0.05
    momentum: Share = 0.1
    negatives: Literal["all", "same-camera"] = "all"
    smoothing: bool = False
    camera_entropy: bool = False
    proxy_weight: Annotated[float, Field(ge=0.0)] = 0.0
    proxy_temperature: Annotated[float, Field(gt=0.0)] = 0.07
    proxy_negatives: Positive = 50
    triplet_weight: Annotated[float, Field(ge=0.0)] = 0.0
    triplet_margin: Annotated[float, Field(ge=0.0)] = 0.3
    first_crops: Positive = 2


@dataclass(frozen=True, config=STRICT)
class SclOptions:
    """SCL (Pang et al. 2022); read only if ``method = "scl"``. Defaults: the released yml.

    Attributes:
        stripes: number of horizontal stripes, each with a local feature.
        global_size: dimensions of the global feature.
        local_size: dimensions of each local feature.
        batch: crops per batch, plainly shuffled.
        positives: K, the number of nearest crops treated as the same person.
        negatives: n, the number of next nearest crops, treated as other people.
        temperature: 1 / t.
        global_weight: lambda_g, share of the global distance.
        camera_weight: lambda_c, added to the distance of crops of one camera.
        self_weight: lambda_t, weight of the crop itself among its positives.
        positive_weight: alpha, scale of the other positives' weight.
        local_weight: lambda_p, share of the local feature's loss.
        warmup_epochs: number of first epochs with the crop itself as the only positive.
        bank_momentum: share of the old row that the global and local banks keep.
        mixture_writes: ``after`` writes the mixture bank after the gradients are computed;
            ``released`` repeats the order of the released code, in which later gradients see
            earlier writes (Q3 in docs/training.md).
        warmup_negatives: ``others`` leaves the crop itself out; ``released`` repeats the mistake of
            the released code, which may keep it in (Q2 in docs/training.md).
    """

    stripes: Positive = 8
    global_size: Positive = 2048
    local_size: Positive = 256
    batch: Annotated[int, Field(ge=2)] = 8
    positives: Positive = 7
    negatives: Positive = 500
    temperature: Annotated[float, Field(gt=0.0)] = 0.1
    global_weight: Share = 0.5
    camera_weight: Annotated[float, Field(ge=0.0)] = 0.05
    self_weight: Share = 0.5
    positive_weight: Annotated[float, Field(ge=0.0)] = 1.75
    local_weight: Share = 0.5
    warmup_epochs: Annotated[int, Field(ge=0)] = 3
    bank_momentum: Share = 0.5
    mixture_writes: Literal["after", "released"] = "after"
    warmup_negatives: Literal["others", "released"] = "others"
