"""The configuration of a worker: what model-config.yaml may say, checked, with what holds where it says nothing."""

from lseg_serve.segmenter.config.lseg import DEVICES, HPU_MODES, MODES, Config, DeviceKind, HpuMode, Mode
from lseg_serve.segmenter.config.subsections import AccurateParams, HpuParams, StaticImageSizeParams
from lseg_serve.segmenter.config.torchserve import ModelConfigFile

__all__ = [
    "DEVICES",
    "HPU_MODES",
    "MODES",
    "AccurateParams",
    "Config",
    "DeviceKind",
    "HpuMode",
    "HpuParams",
    "Mode",
    "ModelConfigFile",
    "StaticImageSizeParams",
]
