"""Labels in, the embeddings of their words out: checked, put into templates, and remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import Tensor

from lseg_serve.labelsets import (
    Label,
    LabelInput,
    TemplateError,
    checked_templates,
    name_of,
    words_of,
)
from lseg_serve.model import LabelTooLongError
from lseg_serve.segmenter.config import Config
from lseg_serve.segmenter.engine.text_cache import TextCache
from lseg_serve.segmenter.errors import InvalidLabelsError, InvalidOptionError
from lseg_serve.segmenter.jobs import EncodedLabels
from lseg_serve.segmenter.preprocessing.labels import checked_labels


class Vocabulary:
    """The labels of requests, and the label set for those that name none."""

    def __init__(
        self, cache: TextCache, config: Config, label_set: Sequence[Label], embeddings: Tensor | None = None
    ) -> None:
        """`embeddings` [W, E] are those of the words of `label_set`, in no template, where they are known."""
        self._cache, self._config, self._label_set = cache, config, tuple(label_set)
        if embeddings is not None:
            cache.pin(_words(self._label_set), embeddings)

    def encoded(
        self, labels: Sequence[LabelInput] | None, template: str | Sequence[str] | None = None
    ) -> EncodedLabels:
        """The embeddings of the words of `labels`, of the label set without them, in `template` or the configured one.

        Raises:
            InvalidLabelsError: what `checked_labels` refuses, a word that the text tower cannot take, or none where
                there is no label set.
            InvalidOptionError: what `checked_templates` refuses.
        """
        chosen = self._label_set if labels is None else checked_labels(labels, self._config)
        if not chosen:
            raise InvalidLabelsError("labels is missing, and this model was exported without a label set")
        templates = self._config.template if template is None else self._checked_templates(template)
        start = time.perf_counter()
        try:
            embeddings = self._cache.embeddings(_words(chosen), templates)
        except LabelTooLongError as error:
            raise InvalidLabelsError(str(error)) from error
        counts = tuple(len(words_of(label)) for label in chosen)
        names = tuple(map(name_of, chosen))
        # Where each label is one word, there is nothing to merge.
        return EncodedLabels(names, embeddings, time.perf_counter() - start, counts if max(counts) > 1 else None)

    def encode_label_set(self) -> None:
        """Keep the embeddings of the label set in the configured template; an archive has those without one."""
        templates, words = self._config.template, list(dict.fromkeys(_words(self._label_set)))
        if templates and words:
            self._cache.pin(words, self._cache.embeddings(words, templates), templates)

    def _checked_templates(self, template: str | Sequence[str]) -> tuple[str, ...]:
        given = [template] if isinstance(template, str) else template
        try:
            return checked_templates(given, self._config.max_templates, self._config.max_label_length)
        except TemplateError as error:
            raise InvalidOptionError(str(error), "template") from error


def _words(labels: Sequence[Label]) -> list[str]:
    return [word for label in labels for word in words_of(label)]
