"""The kernel that every ray runs; imported only where Warp is installed."""

# Warp compiles this source. It needs its own types as plain annotations.
# mypy: ignore-errors
# ruff: noqa: ANN201, D103, PLR0913, UP018

import warp as wp

from training.synthetic.bodies.rays import SHADOW_REACH

FAR = wp.constant(1.0e3)
NEAR_COVER = wp.constant(0.6)
SHADOWS_END = wp.constant(SHADOW_REACH)
PERSON_REACH = wp.constant(1.1)
LIFT = wp.constant(0.006)


@wp.func
def to_local(place: wp.vec4, direction: wp.vec3):
    return wp.vec3(
        place[2] * direction[0] + place[3] * direction[1],
        -place[3] * direction[0] + place[2] * direction[1],
        direction[2],
    )


@wp.func
def to_world(place: wp.vec4, direction: wp.vec3):
    return wp.vec3(
        place[2] * direction[0] - place[3] * direction[1],
        place[3] * direction[0] + place[2] * direction[1],
        direction[2],
    )


@wp.func
def is_hidden(
    meshes: wp.array(dtype=wp.uint64),
    places: wp.array(dtype=wp.vec4),
    count: int,
    point: wp.vec3,
    direction: wp.vec3,
    reach: float,
):
    hidden = bool(False)
    for index in range(count):
        if not hidden:
            place = places[index]
            start = to_local(place, point - wp.vec3(place[0], place[1], 0.0))
            hidden = wp.mesh_query_ray_anyhit(
                meshes[index], start, to_local(place, direction), reach
            )
    return hidden


@wp.func
def is_near_people(places: wp.array(dtype=wp.vec4), count: int, point: wp.vec3):
    near = bool(False)
    for index in range(1, count):
        x = point[0] - places[index][0]
        y = point[1] - places[index][1]
        near = near or (x * x + y * y < PERSON_REACH * PERSON_REACH)
    return near


@wp.func
def covered(
    meshes: wp.array(dtype=wp.uint64),
    places: wp.array(dtype=wp.vec4),
    count: int,
    point: wp.vec3,
    normal: wp.vec3,
    rays: int,
    covers: int,
    state: wp.uint32,
):
    share = float(0.0)
    for _ in range(rays):
        around = wp.normalize(normal * 1.05 + wp.sample_unit_sphere_surface(state))
        if is_hidden(meshes, places, count, point, around, NEAR_COVER):
            share += 1.0 / float(covers)
    return share


@wp.kernel
def trace(
    meshes: wp.array(dtype=wp.uint64),
    places: wp.array(dtype=wp.vec4),
    count: int,
    origin: wp.vec3,
    directions: wp.array(dtype=wp.vec3),
    sun: wp.vec3,
    softness: float,
    covers: int,
    seed: int,
    solid: wp.array(dtype=wp.int32),
    face: wp.array(dtype=wp.int32),
    corner: wp.array(dtype=wp.vec2),
    distance: wp.array(dtype=float),
    lit: wp.array(dtype=float),
    sky: wp.array(dtype=float),
):
    ray = wp.tid()
    direction = directions[ray]
    nearest = float(FAR)
    normal = wp.vec3(0.0, 0.0, 1.0)
    solid[ray] = -1
    for index in range(count):
        place = places[index]
        start = to_local(place, origin - wp.vec3(place[0], place[1], 0.0))
        hit = wp.mesh_query_ray(meshes[index], start, to_local(place, direction), nearest)
        if hit.result:
            nearest = hit.t
            normal = to_world(place, hit.normal)
            solid[ray] = index
            face[ray] = hit.face
            corner[ray] = wp.vec2(hit.u, hit.v)
    distance[ray] = nearest
    lit[ray] = 1.0
    sky[ray] = 1.0
    if solid[ray] >= 0:
        if wp.dot(normal, direction) > 0.0:
            normal = -normal
        point = origin + direction * nearest + normal * LIFT
        rays = covers
        if solid[ray] == 0 and not is_near_people(places, count, point):
            rays = 0  # the street's own creases are in its textures
        state = wp.rand_init(seed, ray)
        ahead = wp.normalize(sun + wp.sample_unit_sphere_surface(state) * softness)
        if is_hidden(meshes, places, count, point, ahead, SHADOWS_END):
            lit[ray] = 0.0
        sky[ray] = 1.0 - covered(meshes, places, count, point, normal, rays, covers, state)
