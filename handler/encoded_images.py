"""Image files that come as text: base64 or a data URI, in JSON and in the fields of forms."""

from __future__ import annotations

import base64
import binascii
import re

from lseg_serve.segmenter import InvalidImageError

_ACCEPTED = "accepted: a file, or its bytes as base64 or a data URI"
_DATA_URI = re.compile(r"\s*data:[^,]*;base64,", re.IGNORECASE)
_LINK = re.compile(r"\s*https?://", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")

# What a file must begin with to be looked at as text: a data URI, a link, or enough characters of base64. No image file
# that is served begins with any of them.
_TEXT = re.compile(rb"\s*(?:data:|https?://|(?P<base64>[A-Za-z0-9+/_-]{24}))", re.IGNORECASE)
_BEGINNING = 100
_SIGNATURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II[*+]\0|MM\0[*+]|RIFF....WEBP|....ftyp|\0\0\0\x0c(?:jP  |JXL )|\xff\x0a|"
    rb"\0\0\x01\0|qoif|8BPS|P[1-7]\s",
    re.DOTALL,
)


def decoded_text(text: str) -> bytes:
    """The image file that `text` holds as base64 or as a data URI.

    Both alphabets of base64 are accepted (RFC 4648, 4 and 5), spaces and line ends anywhere, and padding or none.

    Raises:
        InvalidImageError: it is anything else, such as a link, which is never fetched.
    """
    if _LINK.match(text):
        raise InvalidImageError(
            f"image is a link ({text.strip()[:60]!r}), and no base64: links are not fetched; {_ACCEPTED}"
        )
    uri = _DATA_URI.match(text)
    try:
        return _from_base64(text[uri.end() if uri else 0 :])
    except (binascii.Error, ValueError) as error:
        raise InvalidImageError(f"image is text ({text[:30]!r}...) that is no base64: {error}; {_ACCEPTED}") from error


def decoded_field(content: bytes) -> bytes:
    """The image file in the field of a form, or as a body: `content` itself, or what it holds as text.

    It is taken as text only where that is beyond doubt: a data URI, a link, or base64 of what begins like an image.

    Raises:
        InvalidImageError: see `decoded_text`.
    """
    beginning = _TEXT.match(content[:_BEGINNING])
    if beginning is None:
        return content
    encoded = beginning["base64"]
    if encoded and not _SIGNATURE.match(base64.b64decode(encoded, altchars=b"-_")):
        return content
    return decoded_text(content.decode("utf-8", "replace"))


def _from_base64(text: str) -> bytes:
    encoded = "".join(text.split())
    if "+" not in encoded and "/" not in encoded:
        encoded = encoded.translate(_URL_SAFE)
    if not encoded.endswith("="):
        encoded += "=" * (-len(encoded) % 4)
    return base64.b64decode(encoded, validate=True)
