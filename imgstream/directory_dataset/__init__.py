"""image_dataset_from_directory: the function of Keras, with batches made by imgstream.

arguments.py  what Keras refuses, with its messages
listing.py    the files of a folder as Keras lists and labels them
splitting.py  validation_split and subset
dataset.py    the function: listing → Stream → tf.data.Dataset
"""

from __future__ import annotations

from imgstream.directory_dataset.dataset import image_dataset_from_directory

__all__ = ["image_dataset_from_directory"]
