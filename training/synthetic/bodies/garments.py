"""Pieces that are added to a posed body: skirts, coat tails, hair, hats, bags, and things."""

from __future__ import annotations

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.headwear import hair_and_hats
from training.synthetic.bodies.luggage import things_carried
from training.synthetic.bodies.person import Person
from training.synthetic.bodies.pieces import Added, PosedBody
from training.synthetic.bodies.pose import Pose
from training.synthetic.bodies.skirts import skirts


def add_pieces(person: Person, pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
    """Build everything that a person wears or has besides cloth on the skin.

    Args:
        person: who.
        pose: the moment; hands hold things.
        body: the posed body.
        model: the body model.

    Returns:
        The pieces.
    """
    return [
        *skirts(person, body, model),
        *hair_and_hats(person, body, model),
        *things_carried(person, pose, body, model),
    ]
