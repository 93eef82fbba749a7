"""What a request for embeddings may ask for, and its check: mode, preset, scales, windows, type of the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from lseg_serve.segmenter.config import MODES, AccurateParams, Config
from lseg_serve.segmenter.errors import ConfigError, InvalidOptionError
from lseg_serve.segmenter.masks.windows import plan_scales

Preset = Literal["openscene", "vlmaps"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
DTYPES = ("float16", "float32")

_WINDOW_OPTIONS = ("scales", "flip", "base_size", "crop_size")
_MOST_PASSES = 1000
_VLMAPS = {"scales": (1.0,), "flip": False, "base_size": 520, "crop_size": 480, "stride": 320, "resize": "bilinear"}


@dataclass(frozen=True)
class EmbedOptions:
    """How an image is embedded. None stands for what the configuration says."""

    mode: str | None = None
    preset: str | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    base_size: int | None = None
    crop_size: int | None = None
    dtype: str = "float16"

    def checked_mode(self, config: Config) -> str:
        """The mode: fast, accurate or a preset's name.

        Raises:
            InvalidOptionError: a value that is not accepted, or options that exclude each other.
        """
        for name, value, accepted in (
            ("mode", self.mode, MODES),
            ("preset", self.preset, PRESETS),
            ("dtype", self.dtype, DTYPES),
        ):
            if value is not None and value not in accepted:
                raise InvalidOptionError(f"{name} is {str(value)[:60]!r}; accepted: {', '.join(accepted)}", name)
        given = [name for name in _WINDOW_OPTIONS if getattr(self, name) is not None]
        if self.preset is not None:
            for name in ("mode", *given):
                if getattr(self, name) is not None:
                    raise InvalidOptionError(
                        f"{name} is given with a preset, which decides it; accepted: one of them", name
                    )
            return self.preset
        mode = self.mode or config.mode
        if given and mode != "accurate":
            raise InvalidOptionError(f"{given[0]} is given in {mode} mode; accepted: with mode accurate", given[0])
        return mode

    def windows(self, config: Config, height: int, width: int, stride: int, only_crop: int | None) -> AccurateParams:
        """The windows of an image of `height` x `width` pixels, in every mode but fast.

        Args:
            config: what holds where the options say nothing, and the limits.
            height: of the image.
            width: of the image.
            stride: sides of windows are multiples of this.
            only_crop: the one side of windows that the device takes; None where it takes any.

        Raises:
            InvalidOptionError: a value that is not accepted, or too many windows.
        """
        if self.preset == "vlmaps":
            params = AccurateParams().replaced(**_VLMAPS)
            sides = {"crop_size": 480}
        elif self.preset == "openscene":
            base = 2 * max(height, width)
            crop = -(-base // 32) * 32
            _check_side(
                "preset", base, config.max_embedding_side, f"openscene passes twice the image's side, {base} pixels"
            )
            params = AccurateParams(scales=(1.0,), flip=True, crop_size=crop, base_size=base, stride=crop)
            sides = {"crop_size": crop}
        else:
            params = self._own_windows(config)
            sides = {} if self.crop_size is None else {"crop_size": self.crop_size}
        for name, side in sides.items():
            shown = "preset" if self.preset is not None else name
            if only_crop is not None and side != only_crop:
                raise InvalidOptionError(
                    f"windows of {side} pixels would be compiled first on this device; accepted: {only_crop}", shown
                )
            if side % stride:
                raise InvalidOptionError(f"crop_size is {side}; accepted: a multiple of {stride}", shown)
        passes = params.passes * sum(len(plan.windows) for plan in plan_scales(height, width, params))
        if passes > _MOST_PASSES:
            raise InvalidOptionError(
                f"these scales and sizes take {passes} passes of the network; accepted: up to {_MOST_PASSES}",
                "crop_size",
            )
        return params

    def _own_windows(self, config: Config) -> AccurateParams:
        own = {name: getattr(self, name) for name in _WINDOW_OPTIONS if getattr(self, name) is not None}
        most = config.max_embedding_side
        if type(self.crop_size) is int:
            own["stride"] = max(1, int(self.crop_size * 2 / 3))  # lang-seg's share
        try:
            params = config.accurate.replaced(**own)
        except ConfigError as error:
            message = str(error).removeprefix(f"{AccurateParams.place}.")
            raise InvalidOptionError(message, message.partition(" ")[0]) from error
        if self.crop_size is not None:
            _check_side("crop_size", params.crop_size, most)
        if self.base_size is not None or self.scales is not None:
            longest = math.ceil(params.base_size * max(params.scales))
            field = "base_size" if self.base_size is not None else "scales"
            _check_side(field, longest, most, f"base_size times the largest scale is {longest}")
        return params


def _check_side(name: str, side: int, most: int, said: str | None = None) -> None:
    if side > most:
        raise InvalidOptionError(
            f"{said or f'{name} is {side}'}; accepted: up to {most} pixels (max_embedding_side in model-config.yaml)",
            name,
        )
