"""People in three dimensions: bodies, clothes and streets, seen by many cameras.

::

    person.py    what an identity looks like          street/     ground, houses, things, trees
    wardrobe.py  inventing identities and groups      camera.py   place, lens, light of a camera
    body.py      the parametric body (anny)           film.py     light to pixels: noise, blur, JPEG
    pose.py      walking, standing, sitting, ...      rays.py     casting rays (Warp)
    dressing.py  cloth pushed out of the skin         shading.py  hits to light
    garments.py  pieces added to the body             figure.py   a dressed, posed body
    chart.py     where on the body a point lies       shot.py     one crop
    parts.py     which part of the outfit it is       knobs.py    how hard the pictures are
    paint.py     its colour, gloss and folds

What belongs to camera.py: light.py (sun, sky, lamps). What belongs to wardrobe.py: outfits.py (tops
and bottoms that go together) and palette.py. What belongs to paint.py: prints.py (patterns),
sewing.py (zips, pockets), fabric.py (folds) with tiles.py (noise that repeats), and places.py
(where a point lies around its limb). What belongs to garments.py: pieces.py (what a piece is),
skirts.py, headwear.py (hair and hats) and luggage.py (what is carried or pushed).
"""
