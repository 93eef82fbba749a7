"""What a text is that came in place of an image."""

from __future__ import annotations

import codecs
import re

from lseg_serve.segmenter.preprocessing.decoding.refusals import Refusal

_SEEN = 2048  # bytes that are looked at
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_HTML = re.compile(r"(?=<)[\s\S]*?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_SVG = re.compile(r"(?=<)[\s\S]*?<(!doctype\s+svg|(\w+:)?svg)\b", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\r\n-]{40,}=*\s*\Z")
# How a JPEG, PNG, GIF, WebP, BMP and TIFF begins in base64.
_BASE64_IMAGES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "Qk0", "SUkqA", "TU0AK")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

_DECODE = 'send it as the value of "image" in a JSON request, or send the bytes that it stands for'
_KINDS: tuple[tuple[re.Pattern[str], Refusal], ...] = (
    (_HTML, Refusal("a web page", "a link was saved in place of the image; download the image itself")),
    (_SVG, Refusal("an SVG drawing", "draw it at the size that you want as PNG")),
    (
        re.compile("version https://git-lfs"),
        Refusal("a Git LFS pointer", "fetch the file that it stands for with `git lfs pull`"),
    ),
    (
        re.compile("data:", re.IGNORECASE),
        Refusal("a data URI", _DECODE),
    ),
    (re.compile(r"(https?|ftp|file|s3|gs)://", re.IGNORECASE), Refusal("an address", "send the image itself")),
    (
        re.compile(r'[{\[]\s*(["\[\]{}\d-]|\Z)'),
        Refusal("JSON", "a JSON request needs Content-Type: application/json"),
    ),
    (
        re.compile(r"/\* XPM|#define \w+_width", re.IGNORECASE),
        Refusal("an X11 picture", "convert it to PNG"),
    ),
    (re.compile(r"<\?xml|<[a-z!]", re.IGNORECASE), Refusal("an XML or HTML text", "send an image")),
)


def text_kind(data: bytes) -> Refusal | None:
    """What kind of text `data` is; None where it is no text, or none that has a name."""
    text = _text(data)
    if text is None:
        return None
    for pattern, refusal in _KINDS:
        if pattern.match(text):
            return refusal
    if text.startswith(_BASE64_IMAGES) or _BASE64.match(text):
        return Refusal("base64", _DECODE)
    return None


def _text(data: bytes) -> str | None:
    """How the text begins, without space in front; None where `data` is no text."""
    start = data[:_SEEN]
    mark = next((mark for mark in _BYTE_ORDER_MARKS if start.startswith(mark)), None)
    encoding = "utf-8" if mark is None else _BYTE_ORDER_MARKS[mark]
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start.removeprefix(mark or b""))
    if _CONTROL.search(text) or text.count("\N{REPLACEMENT CHARACTER}") > len(text) // 20:
        return None
    return text.lstrip()
