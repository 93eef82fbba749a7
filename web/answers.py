"""What the app answers in JSON. The models give the answers and, in openapi.json, their schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["ready", "warming", "no_worker", "away"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorDetail(_Answer):
    """What is wrong, for programs and for people."""

    code: int = Field(ge=400, le=599, description="The HTTP status.")
    type: str = Field(description="A word that stays the same, for programs.")
    message: str = Field(description="What is wrong and what is accepted, for people.")
    field: str | None = Field(description="The field of the request that is at fault, if one is.")


class ErrorAnswer(_Answer):
    """The form of every error, whoever found it: the app, TorchServe or the worker."""

    error: ErrorDetail


class ModelDescription(_Answer):
    """What a page needs to know of a model."""

    architecture: dict[str, Any]
    precision: str | None
    label_set: list[str] = Field(
        description="The labels of requests that name none; of a group its words, with ` | ` between them."
    )
    limits: dict[str, int | float | None] = Field(
        description="Largest number and length of labels, pixels of an image, bytes of a request and of an answer,"
        " seconds of a request."
    )
    formats: list[str]
    modes: list[str]
    default_mode: str
    hash: str | None = Field(description="SHA-256 of the checkpoint.")


class Model(_Answer):
    """One model at one server."""

    id: str = Field(
        description="For the path of its requests: the model's name, after SERVER/ where there are several."
    )
    server: str
    model: str
    state: State = Field(
        description="`ready`; `warming`: its workers load; `no_worker`: it was scaled down to none; `away`: its server"
        " does not answer."
    )
    device: str | None
    description: ModelDescription | None = Field(description="null while no worker has described it.")


class Models(_Answer):
    """All models at all servers."""

    models: list[Model]


class Picture(_Answer):
    """One picture of the gallery."""

    id: str
    title: str
    url: str
    thumbnail: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    credit: str
    labels: list[str] = Field(description="Labels that suit the picture.")


class Gallery(_Answer):
    """The pictures that a page offers."""

    pictures: list[Picture]


class Health(_Answer):
    """The app itself is up."""

    status: Literal["up"] = "up"
