"""Embeddings of pixels and labels, kept and asked again: NumPy alone, so that clients need no torch."""

from lseg_serve.embeddings.embeddings import Embeddings
from lseg_serve.embeddings.files import EmbeddingsFileError, pack, unpack
from lseg_serve.embeddings.points import PointsError, checked_points, points_from_npy

__all__ = [
    "Embeddings",
    "EmbeddingsFileError",
    "PointsError",
    "checked_points",
    "pack",
    "points_from_npy",
    "unpack",
]
