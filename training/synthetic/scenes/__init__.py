"""Scenes: whole frames of several cameras, with boxes, identities and tracks that are known.

::

    options.py   what to make               region.py    pixels that people change
    ground.py    where people can walk      filming.py   one frame of one camera
    paths.py     ways over the ground       truth.py     boxes, visibility, tracks, and their files
    walks.py     a way, walked in time      dataset.py   the folder: resumable, in processes
    plan.py      who walks where and when   crops.py     crops cut out of finished scenes
    frame.py     pixels of a fixed camera   video.py     a film of finished frames
    folder.py    what is in the folder

They build on the people and streets of :mod:`training.synthetic.bodies`.
"""

from training.synthetic.scenes.crops import cut_crops
from training.synthetic.scenes.dataset import make_scenes
from training.synthetic.scenes.folder import SceneSummary
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.video import write_videos

__all__ = ["SceneOptions", "SceneSummary", "cut_crops", "make_scenes", "write_videos"]
