"""Features: the input of a model's last layer. Computed, kept in a file, and used to train a linear head.

embed.py          an index → features, batch by batch
features_file.py  features as Parquet
feature_table.py  features, labels and weights, mapped from disk
linear_head.py    multinomial logistic regression on features
"""

from __future__ import annotations

from imgstream.embedding.embed import Embedding, embed
from imgstream.embedding.feature_table import FeatureTable, head_data
from imgstream.embedding.features_file import FeaturesFile, FeaturesInfo, check_output, open_writer
from imgstream.embedding.linear_head import LinearHead, fit_head

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
