"""Writes the images of an index as shards that other tools read too: TFRecord, WebDataset, Parquet.

images.py           reads an image to be packed, as it is or resized, and finds bad ones
tfrecord_shard.py   a shard of tf.train.Examples
webdataset_shard.py a .tar of key.jpg, key.json and key.cls
parquet_shard.py    rows of image (bytes and path) and label, as Hugging Face's datasets have them
job.py              pack: all shards, whole or absent, going on where it was stopped
"""

from imgstream.packing.job import FORMATS, PackReport, pack

__all__ = ["FORMATS", "PackReport", "pack"]
