"""Writes images into archives and shards, as people's tools do."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

Members = dict[str, bytes]
Write = Callable[[Path, Members], Path]


def write_zip(path: Path, members: Members, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_webdataset(path: Path, members: Members) -> Path:
    """Each image with the name of its folder as key.cls."""
    labels = {os.path.splitext(name)[0] + ".cls": name.partition("/")[0].encode() for name in members}
    both = [item for pair in zip(members.items(), labels.items(), strict=True) for item in pair]
    return write_tar(path, dict(both))


def write_tfrecord(path: Path, members: Members, *, named: bool = True) -> Path:
    """By TensorFlow itself, as its own tools name the features."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for name, data in members.items():
            values = {"image/encoded": data, "image/class/text": name.partition("/")[0].encode()}
            if named:
                values["image/filename"] = name.encode()
            feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
            feature["image/height"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[48]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return path


WRITERS: dict[str, tuple[str, Write]] = {
    "zip": ("p.zip", write_zip),
    "deflated zip": ("p.zip", lambda path, members: write_zip(path, members, zipfile.ZIP_DEFLATED)),
    "zip of a folder": ("p.zip", lambda path, members: write_zip(path, {f"photos/{name}": data for name, data in members.items()})),
    "tar": ("p.tar", write_tar),
    "webdataset": ("p.tar", write_webdataset),
    "tfrecord": ("p.tfrecord", write_tfrecord),
}
