"""Features: what a network makes of an image before its last layer. Computed, kept in a file, and learnt from by a linear head."""

from __future__ import annotations

from imgstream.embedding.embed import Embedding, embed
from imgstream.embedding.file import FeaturesFile, FeaturesInfo, check_output, open_writer
from imgstream.embedding.linear import LinearHead, fit_head
from imgstream.embedding.table import FeatureTable, head_data

__all__ = [
    "Embedding",
    "FeatureTable",
    "FeaturesFile",
    "FeaturesInfo",
    "LinearHead",
    "check_output",
    "embed",
    "fit_head",
    "head_data",
    "open_writer",
]
