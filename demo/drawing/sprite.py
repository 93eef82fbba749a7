"""A small drawing surface for one thing: filled shapes in the unit square, finer than the image's pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from lseg_serve.demo.drawing.light import RGB

# Odd, so that every image pixel has a sample in its very centre: that sample's label is the pixel's truth.
FINENESS = 3
EMPTY = 255
_BITS = 4

Floats64 = npt.NDArray[np.float64]
Points = Sequence[tuple[float, float]] | Floats64


class Sprite:
    """Colour, label and glow of one thing, drawn back to front; x and y run 0..1, y downwards.

    `rgb` is uint8 [h, w, 3] and black where nothing is drawn (colours are premultiplied by coverage when shrunk);
    `labels` is uint8 [h, w], `EMPTY` where nothing is drawn; `glow` is 255 where a surface shines by itself.
    """

    def __init__(self, width: int, height: int, label: int) -> None:
        """A blank surface of `width` x `height` image pixels whose shapes get `label` unless told otherwise."""
        self.width, self.height = max(2, width), max(2, height)
        shape = (self.height * FINENESS, self.width * FINENESS)
        self.rgb = np.zeros((*shape, 3), dtype=np.uint8)
        self.labels = np.full(shape, EMPTY, dtype=np.uint8)
        self.glow: npt.NDArray[np.uint8] | None = None
        self.label = label
        self.roundness = 0.0
        self.grain = 0.0

    def polygon(
        self, points: Points, rgb: RGB, *, label: int | None = None, inside: bool = False, shines: bool = False
    ) -> None:
        """Fill a polygon; `inside` keeps to what is drawn already and leaves its labels alone."""
        corners = self._fixed(points)
        if inside:
            self._fill_inside(corners, rgb)
            return
        cv2.fillPoly(self.rgb, [corners], _bytes(rgb), shift=_BITS)
        cv2.fillPoly(self.labels, [corners], self.label if label is None else label, shift=_BITS)
        if shines or self.glow is not None:
            self._shine(corners, shines)

    def rectangle(
        self, x0: float, y0: float, x1: float, y1: float, rgb: RGB, *, inside: bool = False, shines: bool = False
    ) -> None:
        """Fill an upright rectangle; plain slices, as towers have hundreds of windows."""
        height, width = self.labels.shape
        left, right = (min(width, max(0, round(x * width))) for x in (x0, x1))
        top, bottom = (min(height, max(0, round(y * height))) for y in (y0, y1))
        window = (slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1)))
        if inside:
            self.rgb[window][self.labels[window] != EMPTY] = _bytes(rgb)
            return
        self.rgb[window] = _bytes(rgb)
        self.labels[window] = self.label
        if shines or self.glow is not None:
            if self.glow is None:
                self.glow = np.zeros(self.labels.shape, dtype=np.uint8)
            self.glow[window] = 255 if shines else 0

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, rgb: RGB, *, inside: bool = False, shines: bool = False
    ) -> None:
        """Fill an ellipse of half axes `rx`, `ry` (in widths and heights of the surface)."""
        angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        self.polygon(np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1), rgb, inside=inside, shines=shines)

    def disc(self, x: float, y: float, radius: float, rgb: RGB, *, inside: bool = False) -> None:
        """Fill a true circle; `radius` in heights of the surface."""
        self.ellipse(x, y, radius * self.height / self.width, radius, rgb, inside=inside)

    def line(self, points: Points, thickness: float, rgb: RGB, *, label: int | None = None) -> None:
        """An open line, `thickness` in heights of the surface (never thinner than a third of an image pixel)."""
        corners = self._fixed(points)
        wide = max(1, round(thickness * self.height * FINENESS))
        cv2.polylines(self.rgb, [corners], False, _bytes(rgb), wide, shift=_BITS)
        cv2.polylines(self.labels, [corners], False, self.label if label is None else label, wide, shift=_BITS)

    def dots(self, xs: Floats64, ys: Floats64, radii: Floats64, rgbs: Floats64, *, inside: bool = False) -> None:
        """Many discs, one after another; `radii` [N] in heights, `rgbs` [N, 3]; `inside` as in `polygon`."""
        height, width = self.labels.shape
        centres = np.stack([xs * width, ys * height], 1).astype(int).tolist()
        sizes = np.maximum(1, radii * height).astype(int).tolist()
        colours = np.clip(rgbs * 255, 0, 255).astype(int).tolist()
        for centre, size, colour in zip(centres, sizes, colours, strict=True):
            cv2.circle(self.rgb, centre, size, colour, -1)
            if not inside:
                cv2.circle(self.labels, centre, size, self.label, -1)
        if inside:
            self.rgb[self.labels == EMPTY] = 0

    def tint(self, factors: npt.NDArray[np.float32]) -> None:
        """Multiply the colours by factors that broadcast to [h, w]."""
        wide = np.broadcast_to(factors, self.labels.shape)[..., None]
        np.multiply(self.rgb, wide, out=self.rgb, casting="unsafe") if wide.max() <= 1 else self._tint_clipped(wide)

    def mirror(self) -> None:
        """Swap left and right."""
        self.rgb, self.labels = cv2.flip(self.rgb, 1), cv2.flip(self.labels, 1)
        if self.glow is not None:
            self.glow = cv2.flip(self.glow, 1)

    def _fill_inside(self, corners: npt.NDArray[np.int32], rgb: RGB) -> None:
        left, top, width, height = cv2.boundingRect(corners >> _BITS)
        x0, y0 = max(0, left), max(0, top)
        window = (slice(y0, max(y0, top + height + 1)), slice(x0, max(x0, left + width + 1)))
        drawn = self.labels[window]
        if drawn.size == 0:
            return
        mask = np.zeros(drawn.shape, dtype=np.uint8)
        cv2.fillPoly(mask, [corners - (np.array((x0, y0), dtype=np.int32) << _BITS)], 1, shift=_BITS)
        mask &= drawn != EMPTY
        cv2.copyTo(np.full((*drawn.shape, 3), _bytes(rgb), dtype=np.uint8), mask, self.rgb[window])

    def _tint_clipped(self, factors: npt.NDArray[np.float32]) -> None:
        self.rgb = np.clip(self.rgb * factors, 0, 255).astype(np.uint8)

    def _shine(self, corners: npt.NDArray[np.int32], shines: bool) -> None:
        if self.glow is None:
            self.glow = np.zeros(self.labels.shape, dtype=np.uint8)
        cv2.fillPoly(self.glow, [corners], 255 if shines else 0, shift=_BITS)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        height, width = self.labels.shape
        scaled = np.asarray(points, dtype=np.float64) * (width, height) - 0.5
        return np.asarray(np.round(scaled * 2**_BITS), dtype=np.int32)


def _bytes(rgb: RGB) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(value * 255))) for value in rgb)
    return red, green, blue


def shade(rgb: RGB, factor: float) -> RGB:
    """`rgb` made lighter or darker."""
    return min(1.0, rgb[0] * factor), min(1.0, rgb[1] * factor), min(1.0, rgb[2] * factor)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`first` with `share` (0..1) of `second` in it."""
    red, green, blue = (a * (1 - share) + b * share for a, b in zip(first, second, strict=True))
    return red, green, blue
