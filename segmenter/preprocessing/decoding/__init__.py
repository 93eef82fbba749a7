"""From the bytes of an image file to upright RGB pixels, or an error that says what is wrong with the bytes.

`decode.py` is the way of a file. `kinds.py` tells what the bytes are, and refuses by name what is not served. Kinds
that need their own care have a module each; `pillow.py` opens all others. `bands.py` makes colours of numbers that
are no bytes.
"""

from lseg_serve.segmenter.preprocessing.decoding.bands import Reading
from lseg_serve.segmenter.preprocessing.decoding.decode import decode_image
from lseg_serve.segmenter.preprocessing.decoding.pillow import IMAGE_FORMATS
from lseg_serve.segmenter.preprocessing.decoding.pixels import Pixels

__all__ = ["IMAGE_FORMATS", "Pixels", "Reading", "decode_image"]
