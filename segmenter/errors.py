"""Everything that can go wrong on the way of a request: one tree of errors, each of which knows its HTTP status."""

from __future__ import annotations

from http import HTTPStatus


class SegmenterError(Exception):
    """An error with an answer: a status, a stable `type` for programs, a message for people, the field at fault."""

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
    """The answer would not pass TorchServe's `max_response_size`."""

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


class ConfigError(ValueError):
    """A configuration that no worker may start with; the message names the key, the value and what is accepted."""


class DeviceError(RuntimeError):
    """A device that was asked for and is not there."""


class DeviceAbsentError(DeviceError):
    """There is no such device at all, where one that is taken or broken is another matter."""


class ArchiveError(ValueError):
    """A folder or file that is no complete LSeg archive."""
