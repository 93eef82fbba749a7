"""CLIP's text tower: labels in, embeddings out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from lseg_serve.model.architecture import Architecture
from lseg_serve.model.errors import LabelTooLongError

with warnings.catch_warnings():
    # clip imports pkg_resources, which warns of its own removal; setuptools is pinned below that version.
    warnings.simplefilter("ignore")
    import clip
    from clip.model import LayerNorm, Transformer
    from clip.simple_tokenizer import basic_clean, whitespace_clean


_MOST_WORDS = 50_000  # in the cache of CLIP's tokenizer
_TOKENIZER_LOCK = threading.Lock()  # the cache must not be emptied while another thread reads it


@lru_cache(maxsize=4096)
def cleaned(label: str) -> str:
    """`label` as CLIP's tokenizer sees it: repaired Unicode, HTML entities resolved, single spaces, lower case."""
    text: str = whitespace_clean(basic_clean(label)).lower()
    return text


def tokenize(labels: Sequence[str], context_length: int = 77) -> Tensor:
    """CLIP's tokens of each label as typed, without a prompt around it: int64 [K, L].

    L is the number of tokens of the longest label, at most 77.

    Raises:
        ValueError: one text for a list, or a label that does not fit into `context_length` tokens; it is named.
    """
    if isinstance(labels, str):
        raise ValueError(f"labels is the text {labels[:60]!r}; accepted: a list of texts")
    tokens: Tensor = torch.zeros(len(labels), context_length, dtype=torch.int64)
    with _TOKENIZER_LOCK:
        for row, label in zip(tokens, labels, strict=True):
            row.copy_(_tokens(label, context_length))
        _limit_word_cache()
    longest = int((tokens != 0).sum(dim=1).max()) if len(labels) else 0
    return tokens[:, :longest]


def _tokens(label: str, context_length: int) -> Tensor:
    try:
        tokens: Tensor = clip.tokenize(label, context_length=context_length)[0]
    except RuntimeError as error:
        limit = context_length - 2  # the start and end tokens take two places
        raise LabelTooLongError(f"label {label[:60]!r} is too long; accepted: up to {limit} CLIP tokens") from error
    return tokens


def _limit_word_cache() -> None:
    """CLIP's tokenizer caches every word it ever split, about 1 kB each. A server would run out of memory."""
    words = clip.clip._tokenizer.cache
    if len(words) > _MOST_WORDS:
        words.clear()
        words.update({word: word for word in ("<|startoftext|>", "<|endoftext|>")})


class TextEncoder(nn.Module):
    """The text tower, its tensors named as in CLIP."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, length = architecture.text_width, architecture.context_length
        self.token_embedding = nn.Embedding(architecture.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(length, width))
        self.transformer = Transformer(width, architecture.text_depth, architecture.text_heads)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, architecture.embedding))

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens` int64 or int32 [K, L] -> embeddings [K, E], not yet of unit length.

        The tower is causal and an embedding is read at the end token, so tokens after it change nothing. L may be any
        length that holds the longest label; a short one costs a fraction of CLIP's 77.
        """
        length = tokens.shape[1]
        self._mask(length, tokens.device)
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        x = self.transformer(x.transpose(0, 1)).transpose(0, 1)  # CLIP's blocks take [L, K, D]
        x = self.ln_final(x)
        end = tokens.argmax(dim=-1)  # the end token has the highest index of the vocabulary
        embedded: Tensor = x.take_along_dim(end[:, None, None], dim=1).squeeze(1) @ self.text_projection
        return embedded

    def _mask(self, length: int, device: torch.device) -> None:
        """Give every block the causal mask of this length. The mask is not a parameter and is in no checkpoint.

        It is filled where it hides, and not multiplied: a product of infinity and zero would be no number.
        """
        places = torch.arange(length, device=device)
        mask = torch.zeros(length, length, device=device).masked_fill(places > places[:, None], float("-inf"))
        for block in self.transformer.resblocks:
            block.attn_mask = mask
