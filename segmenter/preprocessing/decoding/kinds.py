"""Which kind of file the bytes are, told by how they begin, and what to say of kinds that are not served."""

from __future__ import annotations

from lseg_serve.segmenter.errors import UnsupportedImageError

# The first bytes of image files. A file that begins with them and ends within its header is reported as truncated, and
# not as something else than an image.
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

# PPM as decimal text is not served, because one as large as an upload may be takes half a minute to decode.
_PLAIN_PPM = (b"P1", b"P2", b"P3")


def refuse_by_name(data: bytes) -> None:
    """Refuse a kind of file that is known and not served, and say what it is and what to do.

    Raises:
        UnsupportedImageError: `data` is of such a kind.
    """
    if data.startswith(_PLAIN_PPM):
        raise UnsupportedImageError("a PPM in plain text is not served; accepted: the binary kind (P4, P5, P6)")
