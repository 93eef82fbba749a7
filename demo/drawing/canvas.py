"""The image being painted: colours and truth side by side, so that they cannot drift apart."""

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing.light import Light
from lseg_serve.demo.drawing.sprite import EMPTY, FINENESS, Sprite
from lseg_serve.demo.drawing.texture import Floats, noise
from lseg_serve.demo.vocabulary import CLASS_INDEX, NO_COLOUR


class Canvas:
    """`image` float32 [H, W, 3] RGB 0..1, `classes` and `colours` uint8 [H, W], and the line of the horizon in px."""

    def __init__(self, width: int, height: int, horizon: int) -> None:
        """An empty image, all of it sky."""
        self.width, self.height, self.horizon = width, height, horizon
        self.image: Floats = np.zeros((height, width, 3), dtype=np.float32)
        self.classes = np.full((height, width), CLASS_INDEX["sky"], dtype=np.uint8)
        self.colours = np.full((height, width), NO_COLOUR, dtype=np.uint8)
        self.road_leads_away = False
        # Things are measured by this, so that a very long or tall image does not get giants.
        self.unit = min(float(np.sqrt(width * height)), 1.6 * min(width, height))

    def depth(self, y: float) -> float:
        """How near a foot at row `y` is: 0 at the horizon, 1 at the lower edge."""
        return min(1.0, max(0.0, (y - self.horizon) / max(1, self.height - self.horizon)))

    def lay(self, top: int, rgb: Floats, cover: Floats, label: int) -> None:
        """Cover the rows from `top` on with `rgb` [h, w, 3] where `cover` [h, w] (0..1) says so."""
        rows = slice(top, top + cover.shape[0])
        self.image[rows] += (rgb - self.image[rows]) * cover[..., None]
        self.classes[rows][cover >= 0.5] = label

    def stamp(
        self, sprite: Sprite, left: int, bottom: int, light: Light, *, colours: dict[int, int] | None = None,
        shadow: bool = True, haze: float = 0.0,
    ) -> None:  # fmt: skip
        """Put a thing with its foot on row `bottom`; `colours` gives the colour index of each coloured label in it."""
        rgb, cover, labels = lit_sprite(sprite, light)
        if haze > 0:
            rgb += (np.array(light.hour.horizon, dtype=np.float32) * cover[..., None] - rgb) * np.float32(haze)
        top = bottom - sprite.height
        if shadow:
            self._cast_shadow(cover, left, bottom, light)
        window = _overlap(left, top, sprite.width, sprite.height, self.width, self.height)
        if window is None:
            return
        here, there = window
        self.image[here] *= (1 - cover[there])[..., None]
        self.image[here] += rgb[there]
        drawn = labels[there]
        known = drawn != EMPTY
        self.classes[here][known] = drawn[known]
        table = np.full(256, NO_COLOUR, dtype=np.uint8)
        for label, colour in (colours or {}).items():
            table[label] = colour
        self.colours[here][known] = table[drawn[known]]

    def reflect(self, sprite: Sprite, left: int, bottom: int, light: Light, strength: float = 0.45) -> None:
        """A rippled mirror image below a thing on water; the water keeps its label."""
        rgb, cover, _ = lit_sprite(sprite, light)
        rows = sprite.height * 2 // 3
        ys = np.linspace(sprite.height - 1, 0, rows)
        wave = np.sin(np.arange(rows) * (40 / self.unit + 0.5)) * np.linspace(0.2, 1.0, rows) * sprite.width * 0.03
        xs = np.arange(sprite.width)[None] + wave[:, None]
        maps = xs.astype(np.float32), np.repeat(ys[:, None], sprite.width, 1).astype(np.float32)
        flipped = cv2.remap(np.dstack([rgb, cover]), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        window = _overlap(left, bottom, sprite.width, rows, self.width, self.height)
        if window is None:
            return
        here, there = window
        fade = np.linspace(strength, 0.05, rows, dtype=np.float32)[there[0]][:, None]
        fade = fade * (self.classes[here] == CLASS_INDEX["water"])
        layer = flipped[there]
        self.image[here] *= (1 - layer[..., 3] * fade)[..., None]
        self.image[here] += layer[..., :3] * fade[..., None]

    def _cast_shadow(self, cover: Floats, left: int, bottom: int, light: Light) -> None:
        """Darken the ground along the light: the thing's own outline, laid flat, sheared and blurred."""
        height, width = cover.shape
        length = 0.16 + 0.22 * (1 - light.height)
        reach = int(height * length) + 2
        lean = -light.side * (0.5 + 0.9 * (1 - light.height)) * height
        margin = int(abs(lean)) + 3
        rise = int(height * 0.04) + 1
        # Row `reach` of the laid-out shadow is the thing's foot; rows above it lie farther away.
        matrix = np.array([[1, -lean / height, margin + lean], [0, length, reach - height * length]], dtype=np.float64)
        flat = cv2.warpAffine(cover, matrix, (width + 2 * margin, reach + rise))
        flat = cv2.GaussianBlur(flat, (0, 0), max(0.6, height * 0.012))
        window = _overlap(left - margin, bottom - reach, flat.shape[1], flat.shape[0], self.width, self.height)
        if window is None:
            return
        here, there = window
        strength = flat[there] * np.float32(light.hour.shadow) * _GROUND[self.classes[here]]
        self.image[here] *= (1 - strength)[..., None]


def lit_sprite(sprite: Sprite, light: Light) -> tuple[Floats, Floats, npt.NDArray[np.uint8]]:
    """Lit premultiplied colours [h, w, 3], coverage [h, w] and labels [h, w] of a sprite at image resolution."""
    size = (sprite.width, sprite.height)
    solid = (sprite.labels != EMPTY).view(np.uint8) * np.uint8(255)
    cover = cv2.resize(solid, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    rgb = cv2.resize(sprite.rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    lit = np.array(light.hour.ambient, dtype=np.float32)
    if sprite.roundness:
        rgb *= _rounded(cover, sprite.roundness, light)[..., None]
    if sprite.grain:
        rng = np.random.default_rng(sprite.width * 8191 + sprite.height)
        rough = noise(rng, (sprite.height, sprite.width), max(24.0, 0.9 * sprite.height), "cloudy")
        rgb *= (1 + np.clip(rough, -2, 2) * np.float32(sprite.grain))[..., None]
    if sprite.glow is None:
        rgb *= lit
    else:
        glow = cv2.resize(sprite.glow, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
        rgb *= lit + (1 - lit) * glow[..., None]
    np.clip(rgb, 0, cover[..., None], out=rgb)
    centre = FINENESS // 2
    return rgb, cover, sprite.labels[centre::FINENESS, centre::FINENESS]


def _rounded(cover: Floats, amount: float, light: Light) -> Floats:
    """Light and shade [h, w] around 1 as on a swollen shape: the blurred outline serves as its height."""
    swollen = cv2.GaussianBlur(cover, (0, 0), max(0.8, 0.07 * min(cover.shape)))
    swollen = swollen * cover
    across = cv2.Sobel(swollen, cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(swollen, cv2.CV_32F, 0, 1, ksize=3)
    facing = down * (0.5 + 0.5 * light.height) - across * light.side
    facing = cv2.GaussianBlur(facing, (0, 0), max(0.6, 0.04 * min(cover.shape)))
    scale = np.float32(amount * 0.12 * min(cover.shape))
    result: Floats = np.clip(1 + facing * scale * 0.5, 0.45, 1.45)
    return result


def _overlap(
    left: int, top: int, width: int, height: int, total_width: int, total_height: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The window of the image that a box covers, and the same window within the box."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(total_width, left + width), min(total_height, top + height)
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


# Shadows fall on these; on anything upright a flat shadow would look wrong.
_GROUND = np.zeros(256, dtype=np.float32)
_GROUND[[CLASS_INDEX[name] for name in ("grass", "sand", "snow", "road", "field")]] = 1.0
