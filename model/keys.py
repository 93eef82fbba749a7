"""The names of tensors: the modules of this network -> lang-seg's keys, which checkpoints and archives use."""

from __future__ import annotations

import re

# (regular expression of a name in this network, its replacement in lang-seg's key).
_RENAMES = (
    (r"text_encoder\.", "clip_pretrained."),
    (r"image_encoder\.vit\.", "pretrained.model."),
    (r"image_encoder\.resnet\.conv1\.", "pretrained.layer1.0."),
    (r"image_encoder\.resnet\.bn1\.", "pretrained.layer1.1."),
    (r"image_encoder\.resnet\.layer1\.", "pretrained.layer1.4."),
    (r"image_encoder\.resnet\.layer([234])\.", r"pretrained.layer\1."),
    (r"image_encoder\.reassemble\.(\d)\.readout\.", r"pretrained.act_postprocess\1.0.project.0."),
    (r"image_encoder\.reassemble\.(\d)\.project\.", r"pretrained.act_postprocess\1.3."),
    (r"image_encoder\.reassemble\.(\d)\.resample\.", r"pretrained.act_postprocess\1.4."),
    (r"decoder\.level_convs\.(\d)\.", r"scratch.layer\1_rn."),
    (r"decoder\.blocks\.(\d)\.out_conv\.", r"scratch.refinenet\1.out_conv."),
    (r"decoder\.blocks\.(\d)\.level_unit\.", r"scratch.refinenet\1.resConfUnit1."),
    (r"decoder\.blocks\.(\d)\.output_unit\.", r"scratch.refinenet\1.resConfUnit2."),
    (r"head\.", "scratch.head1."),
    (r"regularizer\.depthwise\.", "scratch.head_block.depthwise.depthwise."),
)
_COUNTED_FROM_ONE = re.compile(r"(act_postprocess|refinenet)(\d)|(scratch\.layer)(\d)(?=_rn)")

# Tensors of published files that take no part in evaluation.
_UNUSED = re.compile(
    r"clip_pretrained\.(visual\.|logit_scale$)|pretrained\.model\.(head|norm)\.|pretrained\.fc\."
    r"|scratch\.refinenet4\.resConfUnit1\.|.*\.num_batches_tracked$"
)


def langseg_key(name: str) -> str:
    """lang-seg's key of a tensor that this network calls `name`."""
    for pattern, replacement in _RENAMES:
        key, count = re.subn("^" + pattern, replacement, name)
        if count:
            return _COUNTED_FROM_ONE.sub(lambda m: (m[1] or m[3]) + str(int(m[2] or m[4]) + 1), key)
    raise KeyError(name)


def is_unused(key: str) -> bool:
    """Whether lang-seg's tensor `key` takes no part in evaluation: CLIP's image tower, timm's head, counters."""
    return _UNUSED.match(key) is not None
