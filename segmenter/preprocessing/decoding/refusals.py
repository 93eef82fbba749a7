"""The kinds of file that are known by their first bytes and not served, each with what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A kind of file that is not served.

    Attributes:
        name: what it is, for people, with its article.
        advice: what to do, in an imperative sentence without its full stop.
        starts: what its first bytes may be; those at `place`.
        place: where `starts` stands.
        also: bytes that must stand at the place behind them too, because `starts` alone begins other kinds.
    """

    name: str
    advice: str
    starts: tuple[bytes, ...] = ()
    place: int = 0
    also: tuple[bytes, int] = (b"", 0)

    @property
    def message(self) -> str:
        """What is said to the client."""
        return f"this is {self.name}, which is not served; {self.advice}"

    def matches(self, data: bytes) -> bool:
        """Whether `data` is of this kind."""
        return data.startswith(self.starts, self.place) and data.startswith(*self.also)


_CONVERT = "convert it to PNG or JPEG"
DEVELOP = "export it as JPEG or 16-bit TIFF first"
_FRAME = "send a single frame, as PNG or JPEG"
_UNPACK = "unpack it and send the image itself"
_EXPORT = "export the picture in it as PNG or TIFF"
_PAGE = "export the page as PNG or JPEG"
_DRAW = "draw it at the size that you want as PNG"

REFUSED = (
    # Documents and drawings.
    Refusal("a PDF", _PAGE, (b"%PDF-",)),
    Refusal("a PostScript file (EPS)", _DRAW, (b"%!PS", b"\xc5\xd0\xd3\xc6", b"\x04%!PS")),
    Refusal("a DjVu document", _PAGE, (b"AT&TFORM",)),
    Refusal("a Windows metafile (WMF)", _DRAW, (b"\xd7\xcd\xc6\x9a", b"\1\0\x09\0\0\3", b"\2\0\x09\0\0\3")),
    Refusal("a Windows metafile (EMF)", _DRAW, (b"\1\0\0\0",), also=(b" EMF", 40)),
    Refusal("an old Office document", "export the picture in it as PNG", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
    Refusal("a GIMP picture (XCF)", _CONVERT, (b"gimp xcf",)),
    Refusal("a large Photoshop file (PSB)", _CONVERT, (b"8BPS\0\2",)),
    Refusal("a font", "send an image", (b"\0\1\0\0\0", b"OTTO", b"wOFF", b"wOF2")),
    # Camera raw files that are no TIFFs. Those that are (DNG, NEF, CR2, ARW) are known by their tags.
    Refusal("a camera raw file (RAF)", DEVELOP, (b"FUJIFILMCCD-RAW",)),
    Refusal("a camera raw file (ORF)", DEVELOP, (b"IIRO", b"IIRS", b"MMOR")),
    Refusal("a camera raw file (RW2)", DEVELOP, (b"IIU\0",)),
    Refusal("a camera raw file (CRW)", DEVELOP, (b"HEAPCCDR",), place=6),
    Refusal("a camera raw file (X3F)", DEVELOP, (b"FOVb",)),
    Refusal("a camera raw file (MRW)", DEVELOP, (b"\0MRM",)),
    # Science and high dynamic range.
    Refusal("a DICOM file", _EXPORT, (b"DICM",), place=128),
    Refusal("a FITS file", _EXPORT, (b"SIMPLE  =",)),
    Refusal("an HDF5 or NetCDF file", _EXPORT, (b"\x89HDF\r\n\x1a\n", b"CDF\1", b"CDF\2", b"CDF\5", b"\x0e\3\x13\1")),
    Refusal("a GRIB file", _EXPORT, (b"GRIB",)),
    Refusal("a NIfTI volume", _EXPORT, (b"n+1\0", b"ni1\0"), place=344),
    Refusal("a NumPy array (.npy)", "save its uint8 pixels as PNG", (b"\x93NUMPY",)),
    Refusal("an OpenEXR image", "map its tones to 8 bits and save it as PNG", (b"v/1\1",)),
    Refusal("a Radiance HDR image", "map its tones to 8 bits and save it as PNG", (b"#?RADIANCE", b"#?RGBE")),
    # What transfers and programs made of an image.
    Refusal(
        "an image that was read as text",
        "read the file as bytes",
        (b"\xef\xbf\xbd", b"\xc3\xbf\xc3\x98\xc3\xbf", b"\xc2\x89PNG"),
    ),
    Refusal(
        "a PNG whose line ends were changed", "transfer the file as binary", (b"\x89PNG\n", b"\x89PNG\r\r", b"\x09PNG")
    ),
    # Kinds that Pillow would decode too slowly, or whose programs few have.
    Refusal("a QOI image", _CONVERT, (b"qoif",)),
    Refusal("a thumbnail of XV", "send the image itself", (b"P7 332",)),
    Refusal(
        "a PNG of an iPhone app (CgBI)",
        "let Xcode or pngcrush -revert-iphone-optimizations restore it",
        (b"\x89PNG\r\n\x1a\n",),
        also=(b"CgBI", 12),
    ),
    Refusal("a JPEG XR image", _CONVERT, (b"II\xbc\1", b"II\xbc\0")),
    Refusal("a JPEG-LS image", _CONVERT, (b"\xff\xd8\xff\xf7",)),
    Refusal("a texture (DDS)", _CONVERT, (b"DDS ",)),
    Refusal("a texture (KTX)", _CONVERT, (b"\xabKTX 11\xbb", b"\xabKTX 20\xbb")),
    Refusal("a Macintosh icon (ICNS)", _CONVERT, (b"icns",)),
    Refusal("an MNG animation", _FRAME, (b"\x8aMNG\r\n\x1a\n", b"\x8bJNG\r\n\x1a\n")),
    Refusal("an SGI image", _CONVERT, (b"\1\xda\0\1", b"\1\xda\1\1", b"\1\xda\0\2", b"\1\xda\1\2")),
    Refusal("a Sun raster", _CONVERT, (b"\x59\xa6\x6a\x95",)),
    Refusal("a PCX image", _CONVERT, (b"\x0a\0\1", b"\x0a\2\1", b"\x0a\3\1", b"\x0a\4\1", b"\x0a\5\1")),
    Refusal("a BPG image", _CONVERT, (b"BPG\xfb",)),
    Refusal("a FLIF image", _CONVERT, (b"FLIF",)),
    # Films, sound, archives.
    Refusal("a video (WebM or Matroska)", _FRAME, (b"\x1a\x45\xdf\xa3",)),
    Refusal("a video (AVI)", _FRAME, (b"RIFF",), also=(b"AVI ", 8)),
    Refusal("a video (MPEG)", _FRAME, (b"\0\0\1\xba", b"\0\0\1\xb3")),
    Refusal("a FLIC animation", _FRAME, (b"\x11\xaf", b"\x12\xaf"), place=4),
    Refusal("a video (FLV)", _FRAME, (b"FLV\1",)),
    Refusal("a video (MOV)", _FRAME, (b"moov", b"mdat", b"wide", b"pnot", b"skip"), place=4),
    Refusal("sound", "send an image", (b"RIFF",), also=(b"WAVE", 8)),
    Refusal("sound", "send an image", (b"ID3", b"OggS", b"fLaC")),
    Refusal("a ZIP archive or an Office document", _UNPACK, (b"PK\3\4", b"PK\5\6", b"PK\7\x08")),
    Refusal("a gzip file", _UNPACK, (b"\x1f\x8b",)),
    Refusal(
        "a compressed file (bzip2, xz, Zstandard, 7z or RAR)",
        _UNPACK,
        (b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\7"),
    ),
    Refusal("a tar archive", _UNPACK, (b"ustar",), place=257),
    Refusal("a pickle or a checkpoint", "send an image", (b"\x80\2", b"\x80\3", b"\x80\4\x95", b"\x80\5\x95")),
    Refusal("a program", "send an image", (b"\x7fELF", b"MZ\x90\0")),
    Refusal(
        "a Macintosh resource file (its name begins with ._)",
        "send the file of the same name without ._",
        (b"\0\5\x16\7",),
    ),
)
