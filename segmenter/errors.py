"""Everything that can go wrong. An error is raised where the fault is known, and names the value and what is accepted.

Errors of a request. Each knows its HTTP status; `handler/responses.py` makes a response of it, and of nothing else:

    SegmenterError              500  anything unforeseen
    |-- InvalidRequestError     400  parse: the request as a whole cannot be understood
    |   |-- InvalidLabelsError  400  parse, check of labels: not a list of distinct texts
    |   |-- InvalidOptionError  400  parse: an unknown field, or an option's value
    |   |-- RequestTooLargeError    413  parse: a compressed body that unpacks to too many bytes
    |   |-- RequestTooCostlyError   413  after decode: its pixels, labels and passes take longer than configured
    |   `-- InvalidImageError   400  parse, decode: no image, or a damaged one
    |       |-- UnsupportedImageError   415  parse, decode: no image at all, or a kind that is not served
    |       `-- ImageTooLargeError      413  decode: more pixels than configured
    |-- NotReadyError           503  before all: the worker is still loading
    |-- DeviceLostError         503  the device failed, and this worker is being replaced
    |-- OutOfMemoryError        507  any stage: the device or the machine has no memory left
    `-- ResponseTooLargeError   413  response: it would not pass TorchServe's limit

Errors of a start. No request is to blame, so they have no status; they stop the worker or the command:

    ArchiveError           a folder or file is no complete LSeg archive
    ConfigError            model-config.yaml has an unknown key, or a value that is not accepted
    DeviceError            a device cannot be had: it is taken or broken
    `-- DeviceAbsentError  there is no such device on this machine
"""

from __future__ import annotations

from http import HTTPStatus


class SegmenterError(Exception):
    """An error with a response: a status, a stable `type` for programs, a message for people, the field at fault."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    type = "internal_error"

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidRequestError(SegmenterError):
    """The request as a whole cannot be understood."""

    status = HTTPStatus.BAD_REQUEST
    type = "invalid_request"


class InvalidLabelsError(InvalidRequestError):
    """The labels are not a list of distinct texts that the text tower can take."""

    type = "invalid_labels"

    def __init__(self, message: str) -> None:
        super().__init__(message, "labels")


class InvalidOptionError(InvalidRequestError):
    """An option is unknown or its value is not accepted."""

    type = "invalid_option"


class RequestTooLargeError(InvalidRequestError):
    """A compressed body that unpacks to more bytes than a request may have."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "request_too_large"


class RequestTooCostlyError(InvalidRequestError):
    """Pixels, labels and passes, each of them accepted, that together take longer than the configuration allows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "request_too_costly"


class InvalidImageError(InvalidRequestError):
    """An image that is missing, truncated or damaged."""

    type = "invalid_image"

    def __init__(self, message: str) -> None:
        super().__init__(message, "image")


class UnsupportedImageError(InvalidImageError):
    """Bytes that are no image, or an image of a kind that is not served."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    type = "unsupported_image"


class ImageTooLargeError(InvalidImageError):
    """More pixels than the configuration allows."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "image_too_large"


class ResponseTooLargeError(SegmenterError):
    """The response would not pass TorchServe's `max_response_size`."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "response_too_large"


class OutOfMemoryError(SegmenterError):
    """The device or the host ran out of memory over this request."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    type = "out_of_memory"


class NotReadyError(SegmenterError):
    """The worker has not finished loading."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = "not_ready"


class DeviceLostError(SegmenterError):
    """The device failed for good. The worker ends, and TorchServe starts another in its place."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    type = "device_lost"


class ConfigError(Exception):
    """A configuration that no worker may start with; the message names the key, the value and what is accepted.

    It is no ValueError: pydantic would take one for a finding of its own, and wrap it.
    """


class DeviceError(RuntimeError):
    """A device that was asked for and cannot be had."""


class DeviceAbsentError(DeviceError):
    """A device that this machine does not have. One that is taken or broken is a plain DeviceError."""


class ArchiveError(ValueError):
    """A folder or file that is no complete LSeg archive."""
