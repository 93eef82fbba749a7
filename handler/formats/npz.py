"""The format npz: the scores of all labels, for programs that go on computing with them."""

from __future__ import annotations

import io

import numpy as np

from lseg_serve.handler.formats.content import Content


def encode_npz(content: Content) -> bytes:
    """NumPy arrays that load without pickle.

    `scores` are float16 [K, h, w] at the resolution that `Segmentation` describes, `labels` their K names, and
    `image_size` is the height and width of the image.
    """
    result = content.result
    buffer = io.BytesIO()
    np.savez(
        buffer,
        scores=result.scores.numpy().astype(np.float16),
        labels=np.array(result.labels, dtype=np.str_),
        image_size=np.array(result.mask.shape),
    )
    return buffer.getvalue()
