"""The parametric body: anny (Apache-2.0; MakeHuman's body, CC0), loaded once per process.

anny shapes a body; posing it is a few matrix products, done here in NumPy, because a body is shaped
once per person but posed for every picture. Only anny's default topology is used: its ``smpl`` and
``smplx`` topologies are for non-commercial use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components

from service.errors import InvalidInput
from training.synthetic.bodies.chart import Chart, Column
from training.synthetic.bodies.person import Shape
from training.synthetic.bodies.rays import import_warp

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Rotations = dict[str, NDArray[np.float64]]

ARM = ("shoulder01", "upperarm", "lowerarm", "wrist", "finger", "metacarpal")
HAND = ("wrist", "finger", "metacarpal")
LEG = ("upperleg", "lowerleg", "foot", "toe")
FOOT = ("foot", "toe")
ARM_JOINTS = ("upperarm01.L", "lowerarm01.L", "wrist.L", "finger3-3.L")
LEG_JOINTS = ("upperleg01.L", "lowerleg01.L", "foot.L")


@dataclass(frozen=True, slots=True, eq=False)
class RestBody:
    """A shaped body in its rest pose: arms about 45 degrees down, facing -y, the root joint at 0.

    Attributes:
        vertices: (V, 3) float32, metres, z up.
        joints: (J, 3) float32, where each bone begins.
    """

    vertices: Float32s
    joints: Float32s


@dataclass(frozen=True, slots=True, eq=False)
class BodyModel:
    """What all bodies share.

    Attributes:
        bones: J names, each parent before its children.
        parents: (J,) index of each bone's parent, -1 for the root.
        faces: (F, 3) int32.
        weights: (V, J) float32, the bones' share in each vertex; rows sum to 1.
        neighbours: (V, V) float32, the mean of a vertex's neighbours.
        chart: where on the body each vertex lies.
        neutral: the body of average shape.
    """

    bones: tuple[str, ...]
    parents: tuple[int, ...]
    faces: Int32s
    weights: csr_array
    neighbours: csr_array
    chart: Chart
    neutral: RestBody

    def bone(self, name: str) -> int:
        """Index of a bone.

        Args:
            name: its name, such as ``head`` or ``wrist.L``.

        Returns:
            0..J-1.
        """
        return self.bones.index(name)

    def pose(self, rest: RestBody, rotations: Rotations) -> NDArray[np.float64]:
        """Turn rotations of single bones into movements of all of them (forward kinematics).

        Args:
            rest: the body.
            rotations: by bone, (3, 3) about the rest body's axes; a bone moves its children too.

        Returns:
            (J, 3, 4) float64: each bone's movement from the rest pose.
        """
        moves = np.empty((len(self.bones), 3, 4))
        for index, (name, parent) in enumerate(zip(self.bones, self.parents, strict=True)):
            above = moves[parent] if parent >= 0 else np.eye(3, 4)
            turn = rotations.get(name)
            if turn is None:
                moves[index] = above
                continue
            head = rest.joints[index]
            moves[index, :, :3] = above[:, :3] @ turn
            moves[index, :, 3] = above[:, :3] @ (head - turn @ head) + above[:, 3]
        return moves

    def skin(self, vertices: Float32s, moves: NDArray[np.float64]) -> Float32s:
        """Move every vertex with its bones (linear blend skinning).

        Args:
            vertices: (V, 3) float32 in the rest pose, perhaps pushed out for clothes.
            moves: (J, 3, 4) from :meth:`pose`.

        Returns:
            (V, 3) float32.
        """
        flat = moves.reshape(len(moves), 12).astype(np.float32)
        blended = (self.weights @ flat).reshape(-1, 3, 4)
        moved = np.einsum("vij,vj->vi", blended[:, :, :3], vertices, optimize=False)
        return np.asarray(moved + blended[:, :, 3], dtype=np.float32)


@lru_cache(maxsize=1)
def load_body_model() -> BodyModel:
    """Load the body model; the very first time on a machine this takes a minute or two.

    Returns:
        The model.

    Raises:
        InvalidInput: the packages are not installed.
    """
    body = _load_anny()
    neutral = _shape(body, dict.fromkeys(body.phenotype_labels, 0.5))
    bones = tuple(body.bone_labels)
    faces = np.asarray(body.faces).astype(np.int32)
    weights = _weights(body, len(bones))
    links = _links(faces, len(neutral.vertices))
    return BodyModel(
        bones=bones,
        parents=tuple(int(parent) for parent in body.bone_parents),
        faces=faces,
        weights=weights,
        neighbours=(diags_array(1.0 / np.maximum(links.sum(1), 1.0)) @ links).astype(np.float32),
        chart=_chart(neutral, bones, weights, links),
        neutral=neutral,
    )


@lru_cache(maxsize=64)
def shape_body(shape: Shape) -> RestBody:
    """Shape a body.

    Args:
        shape: the phenotype.

    Returns:
        The body in its rest pose.
    """
    names = ("age", "muscle", "weight", "height", "proportions")
    phenotype = {name: getattr(shape, name) for name in names}
    return _shape(_load_anny(), phenotype | {"gender": 1.0 - shape.maleness})


@lru_cache(maxsize=1)
def _load_anny():  # type: ignore[no-untyped-def]  # noqa: ANN202 - anny has no types
    import_warp()
    try:
        import anny  # noqa: PLC0415 - an extra; flat people do not need it
        import torch  # noqa: PLC0415 - likewise
        from filelock import FileLock  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"three-dimensional people need the extra 'people' (no module {error.name}): "
            'pip install "hhcl-reid[training,people]"'
        ) from error
    cache = Path(anny.paths.get_anny_cache_path())
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "hhcl-reid.lock"):  # one process builds the cache, the others wait for it
        return anny.Anny(topology="anny").to(dtype=torch.float32)


def _shape(body, phenotype: dict[str, float]) -> RestBody:  # type: ignore[no-untyped-def]  # noqa: ANN001
    import torch  # noqa: PLC0415 - only the bodies need it

    pose = torch.eye(4)[None, None].repeat(1, body.bone_count, 1, 1)
    values = {name: torch.tensor([value]) for name, value in phenotype.items()}
    with torch.no_grad():
        shaped = body(pose_parameters=pose, phenotype_kwargs=values)
    joints = shaped["rest_bone_heads"][0].numpy().astype(np.float32)
    vertices = shaped["rest_vertices"][0].numpy().astype(np.float32)
    return RestBody(vertices - joints[0], joints - joints[0])


def _weights(body, bones: int) -> csr_array:  # type: ignore[no-untyped-def]  # noqa: ANN001
    index, weight = body.vertex_bone_indices.numpy(), body.vertex_bone_weights.numpy()
    row = np.repeat(np.arange(len(index)), index.shape[1])
    dense = coo_array((weight.ravel(), (row, index.ravel())), shape=(len(index), bones)).tocsr()
    return csr_array(dense / dense.sum(1)[:, None]).astype(np.float32)


def _links(faces: Int32s, count: int) -> csr_array:
    ends = (faces.ravel(), np.roll(faces, 1, axis=1).ravel())
    edges = coo_array((np.ones(faces.size), ends), shape=(count, count)).tocsr()
    return ((edges + edges.T) > 0).astype(np.float64)


def _chart(
    neutral: RestBody, bones: tuple[str, ...], weights: csr_array, links: csr_array
) -> Chart:
    values = np.zeros((len(neutral.vertices), len(Column)), dtype=np.float32)
    values[:, :3] = neutral.vertices
    for column, names in (
        (Column.ARM, ARM),
        (Column.LEG, LEG),
        (Column.FOOT, FOOT),
        (Column.HAND, HAND),
    ):
        columns = [index for index, bone in enumerate(bones) if bone.startswith(names)]
        values[:, column] = weights[:, columns].sum(1)
    for column, names in ((Column.ALONG_ARM, ARM_JOINTS), (Column.ALONG_LEG, LEG_JOINTS)):
        joints = neutral.joints[[bones.index(name) for name in names]]
        values[:, column] = _along(neutral.vertices, joints)
    values[:, Column.EYE] = _eyes(neutral.vertices, links)
    return Chart(values)


def _along(vertices: Float32s, joints: Float32s) -> Float32s:
    """Count joints along a limb: the nearest point of the limb's axis, on either side."""
    mirrored = np.abs(vertices * [1.0, 0.0, 0.0]) + vertices * [0.0, 1.0, 1.0]
    nearest = np.full(len(vertices), np.inf)
    along = np.zeros(len(vertices), dtype=np.float32)
    for index, (start, end) in enumerate(pairwise(joints)):
        axis = end - start
        share = np.clip((mirrored - start) @ axis / (axis @ axis), 0.0 if index else -1.0, 1.0)
        distance = np.linalg.norm(mirrored - (start + share[:, None] * axis), axis=1)
        closer = distance < nearest
        nearest[closer], along[closer] = distance[closer], index + share[closer]
    return along


def _eyes(vertices: Float32s, links: csr_array) -> NDArray[np.bool_]:
    """The eyeballs are small pieces of their own, above the mouth's."""
    _, piece = connected_components(links, directed=False)
    size = np.bincount(piece)[piece]
    return (size < 200) & (size > 8) & (vertices[:, 2] > 0.6)
