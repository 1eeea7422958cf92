"""Lists the images inside archives and shards as a table, so that each can be read by itself.

files.py      which files are archives or shards, and where they are
records.py    what a form gives of each image: name, place, label
tfrecord.py   records of TFRecord files, with their checksums
examples.py   the features of a tf.train.Example, without TensorFlow
arrays.py     slices of .npy and .npz files
parquet.py    rows of Parquet files with image bytes
parquet_pages.py  where the values of a Parquet column lie
tar.py        members of .tar files: class folders, or WebDataset's keys
zip.py        members of .zip files
layout.py     the folder in an archive that its class folders lie in
earlier.py    images of shards that have not changed, from an earlier listing
scan.py       scan_shards
"""
