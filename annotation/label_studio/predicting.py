"""Tasks in, predictions out: each by a request to the endpoint, and each failure in words."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import anyio

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.images import Images
from lseg_serve.annotation.label_studio.labelling import Labelling, read_labelling
from lseg_serve.annotation.label_studio.messages import Predict, Task, texts_of
from lseg_serve.annotation.label_studio.regions import GEOMETRY, prediction_of
from lseg_serve.annotation.label_studio.settings import Settings
from lseg_serve.annotation.label_studio.versions import Versions
from lseg_serve.annotation.vocabulary import Entry, Vocabulary
from lseg_serve.client import AsyncLSegClient, ClientError, Retries
from lseg_serve.client.printable import printable

_FAILED: Final = "Failed: "
_LONGEST: Final = 500  # characters of a message
_LONGEST_WORDS: Final = 100  # characters of the free words in a version

logger = logging.getLogger(__name__)


class Predictor:
    """Answers the calls of one Label Studio."""

    def __init__(self, settings: Settings, client: AsyncLSegClient, images: Images, versions: Versions) -> None:
        self._settings = settings
        self._client = client
        self._images = images
        self._versions = versions
        self._slots = anyio.Semaphore(settings.concurrency)

    async def version(self, config: str) -> str:
        """The model's version for a labelling configuration, as Label Studio shows it.

        Label Studio keeps predictions of a version that it knows, so the version tells of everything that they depend
        on. For a configuration that cannot be used it is the reason.
        """
        try:
            read_labelling(config)
        except AnnotationError as error:
            return _failure(str(error))
        settings = self._settings
        options = [settings.mode, settings.threshold, settings.min_share, settings.tolerance, settings.background]
        text = json.dumps([config, options])
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{await self._versions.name()} ({digest})"

    async def predict(self, call: Predict, alias: str | None = None) -> list[dict[str, Any]]:
        """A prediction for each task, in their order.

        What fails is an empty prediction whose version is the reason: the one text of a prediction that Label Studio
        shows to the person who labels. Other tasks of the call go on. What is not done in time has failed.

        Args:
            call: the body of `/predict`.
            alias: the address under which Label Studio knows itself.
        """
        version = await self.version(call.label_config)
        late = AnnotationError(f"no answer within {self._settings.answer_seconds:g} s; retrieve predictions once more")
        answers = [_failed(late) for _ in call.tasks]
        try:
            labelling = read_labelling(call.label_config)
        except AnnotationError as error:
            return [_failed(error) for _ in call.tasks]

        async def answer(index: int, task: Task) -> None:
            async with self._slots:
                answers[index] = await self._answer(task, call, labelling, version, alias)

        with anyio.move_on_after(self._settings.answer_seconds):
            async with anyio.create_task_group() as group:
                for index, task in enumerate(call.tasks):
                    group.start_soon(answer, index, task)
        return answers

    async def _answer(
        self, task: Task, call: Predict, labelling: Labelling, version: str, alias: str | None
    ) -> dict[str, Any]:
        began = time.monotonic()
        try:
            entries = labelling.entries_of(task.data, texts_of(task, call.params.context))
            found = await self._regions(task, call, labelling, entries, alias)
        except (AnnotationError, ClientError) as error:
            answer = _failed(error)
            outcome = answer["model_version"]
        else:
            answer = found | {"model_version": version + _free(labelling, entries)}
            outcome = f"{len(found['result'])} regions"
        milliseconds = round((time.monotonic() - began) * 1000)
        logger.info("project %s, task %s: %s, %d ms", printable(call.project)[:40], task.id, outcome, milliseconds)
        return answer

    async def _regions(
        self,
        task: Task,
        call: Predict,
        labelling: Labelling,
        entries: Sequence[Entry],
        alias: str | None,
    ) -> dict[str, Any]:
        settings = self._settings
        vocabulary = Vocabulary.of(entries, settings.background)
        if labelling.image_field not in task.data:
            raise AnnotationError(
                f"the task has no field {labelling.image_field!r} with an image; it has {_names(list(task.data))}"
            )
        content = await self._images.fetch(task.data[labelling.image_field], task.id, call.project, alias)
        report = await self._client.segment(
            content,
            vocabulary.request,
            format="json",
            geometry=GEOMETRY[labelling.kind],
            mode=settings.mode,
            threshold=settings.threshold,
        )
        # Polygons are sought at leisure, for the event loop answers Label Studio's other calls meanwhile.
        return await anyio.to_thread.run_sync(
            prediction_of, report, labelling, vocabulary, settings.min_share, settings.tolerance
        )


def client_of(settings: Settings) -> AsyncLSegClient:
    """The client of the endpoint.

    Raises:
        BadInput: an address is not accepted.
    """
    return AsyncLSegClient(
        settings.url,
        settings.model,
        settings.answer_seconds,
        retries=Retries(total=settings.answer_seconds),
        max_concurrency=settings.concurrency,
    )


def _free(labelling: Labelling, entries: Sequence[Entry]) -> str:
    """The part of a task's version that tells of its free words, where a label has such.

    It sets the version off from the project's, also where there are no words yet: Label Studio would not ask again for
    a task whose prediction has the project's version, and words that were added would do nothing.
    """
    if not any(label.field for label in labelling.labels):
        return ""
    fixed = labelling.fixed_words
    free = [word for entry in entries for word in entry.words if word not in fixed]
    return f" + {', '.join(free)[:_LONGEST_WORDS] or 'no words'}"


def _failed(error: Exception) -> dict[str, Any]:
    return {"result": [], "score": 0.0, "model_version": _failure(str(error))}


def _failure(reason: str) -> str:
    return f"{_FAILED}{printable(reason)}"[:_LONGEST]


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) or "none"
