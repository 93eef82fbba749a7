"""The embedding of a word in the sentences of prompt templates.

Each sentence is encoded and brought to unit length, the mean over the templates is taken, and brought to unit length in
turn: the ensemble of CLIP's notebook Prompt_Engineering_for_ImageNet (https://github.com/openai/CLIP/tree/main/notebooks,
`zeroshot_classifier`). lang-seg uses no template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lseg_serve.labelsets import filled

Encode = Callable[[Sequence[str]], Tensor]  # texts -> unit embeddings [N, E]

_TEXTS_AT_ONCE = 256  # so that the memory of the text tower does not grow with the templates


def encode_words(encode: Encode, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit embeddings of `words` in `templates`, of the words as they are where there are none: float32 [K, E].

    Raises:
        ValueError: the text tower cannot take one of the sentences.
    """
    if not templates:
        return encode(words)
    texts = [text for word in words for text in filled(word, templates)]
    parts = [encode(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE)]
    return F.normalize(torch.cat(parts).unflatten(0, (len(words), len(templates))).mean(dim=1), dim=-1)
