"""A small drawn world in three dimensions: boxes and planes, seen by cameras with known poses and exact depth.

Things are upright planes that bear the pictures of `demo.drawing`; a bus is a box of four of them. They stand on flat
ground with a road. Lengths are metres. Coordinates are x to the right, y down and z ahead, so that heights are negative
and the ground is y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing import vehicles
from lseg_serve.demo.drawing.canvas import Canvas, lit_sprite
from lseg_serve.demo.drawing.land import MATERIALS, Plane
from lseg_serve.demo.drawing.light import HOURS, Light
from lseg_serve.demo.drawing.paints import paint_of
from lseg_serve.demo.drawing.sky import paint_sky
from lseg_serve.demo.drawing.sprite import EMPTY, Sprite
from lseg_serve.demo.drawing.things import THINGS, Draw
from lseg_serve.demo.vocabulary import CLASS_INDEX, COLOUR_INDEX, NO_COLOUR

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

_FINENESS = 3  # rays for each pixel's side; odd, so that one goes through its centre
_TEXTURE = 150  # pixels of a picture's height
_ROAD = (5.6, 8.6)  # from where to where it lies ahead
_UNIT = 3.4  # metres of the ground that the drawn scenes' unit stands for


@dataclass(frozen=True)
class Camera:
    """A camera without distortion, held level: where it is, and its turn about the vertical in radians, right of z."""

    position: tuple[float, float, float]
    yaw: float = 0.0
    width: int = 320
    height: int = 240
    focal: float = 300.0  # pixels; the centre of the image is the principal point

    @property
    def rotation(self) -> Floats:
        """From the camera's coordinates to the world's: [3, 3]."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])

    def rays(self, fineness: int = 1) -> Floats:
        """The direction of each pixel's rays in the world, 1 along the camera's axis: [H * fineness, W * fineness, 3].

        A pixel's centre is a whole number, as points of a request for embeddings are.
        """
        y, x = (
            (np.arange(side * fineness) + 0.5) / fineness - 0.5 - (side - 1) / 2 for side in (self.height, self.width)
        )
        across, down = np.meshgrid(x / self.focal, y / self.focal)
        own = np.stack([across, down, np.ones_like(across)], axis=-1)
        return np.asarray(own @ self.rotation.T, dtype=np.float64)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Where `points` [N, 3] of the world lie in the image, [N, 2] of x and y, and their depth [N] along the axis.

        Those with a depth of 0 or less are behind the camera; where they lie means nothing.
        """
        own = (points - np.array(self.position)) @ self.rotation
        depth = own[:, 2]
        ahead = np.where(depth > 0, depth, 1.0)[:, None]
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return own[:, :2] * self.focal / ahead + centre, depth


@dataclass(frozen=True)
class View:
    """What a camera sees, and its truth."""

    camera: Camera
    image: Pixels  # [H, W, 3], RGB
    depth: npt.NDArray[np.float32]  # [H, W], metres along the camera's axis; infinite where there is only sky
    classes: Pixels  # [H, W], indices into `vocabulary.LABELS`
    colours: Pixels  # [H, W], indices into `vocabulary.COLOURS`, or `NO_COLOUR`

    def points(self) -> Floats:
        """The place in the world of every pixel that has a depth, row by row: [N, 3]."""
        seen = np.isfinite(self.depth)
        return np.array(self.camera.position) + self.camera.rays()[seen] * self.depth[seen, None]


@dataclass(frozen=True)
class _Face:
    """An upright plane that bears a picture."""

    foot: tuple[float, float]  # x and z of its lower left corner
    along: tuple[float, float]  # x and z of a step of 1 to its lower right one
    width: float
    height: float
    rgb: npt.NDArray[np.float32]  # [h, w, 3]
    classes: Pixels  # [h, w], `EMPTY` where one sees through
    colour: int


def draw_views(cameras: Sequence[Camera], seed: int = 0, seconds: float = 0.0) -> list[View]:
    """The world as each of `cameras` sees it. The same `seed` gives the same pictures and ground.

    Two cars drive towards each other, at 1 m/s; `seconds` says how far they have come.
    """
    light = Light(HOURS[0], 0.5, 0.7, 0.3)
    faces = _faces(np.random.default_rng(seed), light, seconds)
    return [_view(camera, faces, light, seed) for camera in cameras]


def cameras_around(count: int = 7) -> list[Camera]:
    """`count` cameras along a bow in front of the things, each turned to their middle."""
    found = []
    for x in np.linspace(-4.5, 4.5, count).tolist():
        z = -1.5 + 0.06 * x * x
        found.append(Camera((x, -1.9, z), math.atan2(0.3 * x - x, 8 - z)))
    return found


def _faces(rng: np.random.Generator, light: Light, seconds: float) -> list[_Face]:
    def plane(label: str, x: float, z: float, height: float, colours: dict[str, str] | None = None) -> _Face:
        thing = THINGS[label]
        width = height * sum(thing.aspect) / 2
        return _face(rng, light, thing.draw, label, (x - width / 2, z), (1, 0), width, height, colours)

    faces = [
        plane("house", -4.4, 12.5, 4.2, {"house": "white", "roof": "red"}),
        plane("tree", 0.4, 13.5, 5.2),
        plane("tree", 6.8, 14.5, 5.6),
        plane("car", -1.7 - seconds, 6.9, 1.45, {"car": "red"}),
        plane("car", -5.6 + seconds, 7.6, 1.45, {"car": "blue"}),
        plane("tent", -7.2, 10.6, 2.2, {"tent": "orange"}),
        plane("sheep", 1.8, 4.4, 1.0),
    ]
    return faces + _bus(rng, light, 1.2, 6.6, 5.2, 1.6, 2.3)


def _bus(
    rng: np.random.Generator, light: Light, x: float, z: float, length: float, width: float, height: float
) -> list[_Face]:
    """A box whose long sides bear a bus from the side, the others one from behind."""
    yellow = {"bus": "yellow"}

    def face(draw: Draw, foot: tuple[float, float], along: tuple[float, float], wide: float) -> _Face:
        return _face(rng, light, draw, "bus", foot, along, wide, height, yellow)

    return [
        face(vehicles.draw_bus, (x, z), (1, 0), length),
        face(vehicles.draw_bus, (x, z + width), (1, 0), length),
        face(vehicles.draw_bus_from_behind, (x, z + width), (0, -1), width),
        face(vehicles.draw_bus_from_behind, (x + length, z), (0, 1), width),
    ]


def _face(
    rng: np.random.Generator,
    light: Light,
    draw: Draw,
    label: str,
    foot: tuple[float, float],
    along: tuple[float, float],
    width: float,
    height: float,
    colours: dict[str, str] | None,
) -> _Face:
    sprite = Sprite(round(_TEXTURE * width / height), _TEXTURE, CLASS_INDEX[label])
    draw(sprite, rng, light, {name: paint_of(rng, colour) for name, colour in (colours or {}).items()})
    rgb, cover, classes = lit_sprite(sprite, light)
    colour = COLOUR_INDEX[colours[label]] if colours and label in colours else NO_COLOUR
    opaque = np.asarray(rgb / np.maximum(cover, 0.2)[..., None], dtype=np.float32)
    return _Face(foot, along, width, height, opaque, classes, colour)


def _view(camera: Camera, faces: list[_Face], light: Light, seed: int) -> View:
    rays = camera.rays(_FINENESS)
    rows, columns = rays.shape[:2]
    canvas = Canvas(columns, rows, rows // 2)
    paint_sky(canvas, np.random.default_rng(seed), light, cloudy=False)
    depth = np.full((rows, columns), np.inf)
    _ground(canvas, camera, rays, depth, light, seed)
    for face in faces:
        _paint(canvas, camera, rays, depth, face)
    size, centre = (camera.width, camera.height), slice(_FINENESS // 2, None, _FINENESS)
    image = cv2.resize(canvas.image, size, interpolation=cv2.INTER_AREA)
    return View(
        camera,
        np.asarray(np.clip(np.rint(image * 255), 0, 255), dtype=np.uint8),
        depth[centre, centre].astype(np.float32),
        canvas.classes[centre, centre].copy(),
        canvas.colours[centre, centre].copy(),
    )


def _ground(canvas: Canvas, camera: Camera, rays: Floats, depth: Floats, light: Light, seed: int) -> None:
    below = canvas.horizon
    down = rays[below:, :, 1]
    away = -camera.position[1] / down
    x, z = (camera.position[axis] + away * rays[below:, :, axis] for axis in (0, 2))
    near = np.linspace(0, 1, len(down), dtype=np.float32)[:, None]
    plane = Plane((x / _UNIT).astype(np.float32), (z / _UNIT).astype(np.float32), near)
    ambient = np.array(light.hour.ambient, dtype=np.float32)
    on_road = (z >= _ROAD[0]) & (z < _ROAD[1])
    for label, where in (("grass", ~on_road), ("road", on_road)):
        rgb = MATERIALS[label](np.random.default_rng(seed), plane, canvas) * ambient
        canvas.image[below:][where] = rgb[where]
        canvas.classes[below:][where] = CLASS_INDEX[label]
    haze = np.exp(-18 / away)[..., None].astype(np.float32) * np.float32(0.5)
    canvas.image[below:] += (np.array(light.hour.horizon, dtype=np.float32) - canvas.image[below:]) * haze
    depth[below:] = away


def _paint(canvas: Canvas, camera: Camera, rays: Floats, depth: Floats, face: _Face) -> None:
    """Paint a face where it is nearer than what is there."""
    normal = np.array([-face.along[1], face.along[0]])
    start = np.array(face.foot) - np.array([camera.position[0], camera.position[2]])
    facing = rays[..., 0] * normal[0] + rays[..., 2] * normal[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        away = float(start @ normal) / facing
        across = (away * rays[..., 0] - start[0]) * face.along[0] + (away * rays[..., 2] - start[1]) * face.along[1]
        up = -(camera.position[1] + away * rays[..., 1])
        hit = (away > 0.1) & (away < depth) & (across >= 0) & (across < face.width) & (up >= 0) & (up < face.height)
    rows, columns = np.nonzero(hit)
    high, wide = face.classes.shape
    u = (across[rows, columns] / face.width * wide).astype(np.int64)
    v = ((1 - up[rows, columns] / face.height) * high).astype(np.int64).clip(0, high - 1)
    solid = face.classes[v, u] != EMPTY
    rows, columns, u, v = rows[solid], columns[solid], u[solid], v[solid]
    depth[rows, columns] = away[rows, columns]
    canvas.image[rows, columns] = face.rgb[v, u]
    canvas.classes[rows, columns] = face.classes[v, u]
    of_label = face.classes[v, u] == face.classes[face.classes != EMPTY].min()
    canvas.colours[rows, columns] = np.where(of_label, face.colour, NO_COLOUR)
