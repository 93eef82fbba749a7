"""The top level of model-config.yaml: the keys that TorchServe itself reads there, and the section `lseg`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from lseg_serve.segmenter.config.section import Section
from lseg_serve.segmenter.errors import ConfigError


class ModelConfigFile(Section):
    """TorchServe ignores an unknown key and a value of the wrong type without a word, so both are refused here.

    The defaults are TorchServe's own, for a file that says nothing.
    """

    model_config = ConfigDict(alias_generator=to_camel)

    min_workers: Annotated[int, Field(ge=1, description="Workers that start. To be given with `maxWorkers`.")] = 1
    max_workers: Annotated[int, Field(ge=1, description="The most workers. To be given with `minWorkers`.")] = 1
    batch_size: Annotated[int, Field(ge=1, description="Requests that go through the network together.")] = 1
    max_batch_delay: Annotated[
        int, Field(ge=1, description="Milliseconds that a request waits for others to fill the batch.")
    ] = 100
    response_timeout: Annotated[
        int,
        Field(ge=1, description="Seconds for the responses to a batch. After them TorchServe ends the worker."),
    ] = 120
    startup_timeout: Annotated[
        int, Field(ge=1, description="Seconds to load the model. After them TorchServe ends the worker.")
    ] = 120
    max_retry_timeout_in_sec: Annotated[
        int,
        Field(
            ge=1,
            description="Seconds since its first failure for which a worker is started again. To be above"
            " `startupTimeout`: a worker that loads for longer turns `/ping` to 500 and is never retried.",
        ),
    ] = 300
    job_queue_size: Annotated[
        int,
        Field(
            ge=1,
            description="Requests that wait for a worker. One more is answered with 503. Where it is given, it goes"
            " over `job_queue_size` of config.properties.",
        ),
    ] = 20

    # Passed on unread: LSeg neither needs nor checks them.
    async_communication: Any = None
    client_timeout_in_mills: Any = None
    continuous_batching: Any = None
    device_ids: Any = None
    device_type: Any = None
    max_num_sequence: Any = None
    max_sequence_job_queue_size: Any = None
    parallel_level: Any = None
    parallel_type: Any = None
    sequence_batching: Any = None
    sequence_max_idle_m_sec: Any = None
    sequence_timeout_m_sec: Any = None
    torchrun: Any = None
    use_job_ticket: Any = None
    use_venv: Any = None

    lseg: Any = None  # `Config` checks it

    @model_validator(mode="after")
    def _both_worker_counts_or_neither(self) -> ModelConfigFile:
        """TorchServe drops one of them without the other, and starts one worker per core instead."""
        if ("min_workers" in self.model_fields_set) != ("max_workers" in self.model_fields_set):
            raise ConfigError("minWorkers and maxWorkers must be given together: TorchServe ignores one alone")
        return self
