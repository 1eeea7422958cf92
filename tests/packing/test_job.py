"""What is packed is what was there: in every format, after any interruption, for other tools too."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.cli import main
from imgstream.errors import NoImagesError, OptionError, OutputError
from imgstream.files.reader import FileReader
from imgstream.packing import FORMATS, PackReport, pack

LIMIT = 10**6


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.packing.job.SMALLEST_SHARD", 1)


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    """two_classes, with a cut file, an empty one, a picture of another kind and one whose name is no UTF-8."""
    folder = tmp_path / "photos"
    shutil.copytree(two_classes, folder)
    (folder / "dark/05a.jpg").write_bytes((folder / "dark/05.jpg").read_bytes()[:-300])
    (folder / "light/empty.png").touch()
    Image.new("RGB", (70, 50), (1, 2, 3)).save(folder / "light/z.png")
    shutil.copy(folder / "light/00.jpg", os.fsencode(folder) + b"/light/\xff.jpg")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def rows(source: Path) -> dict[bytes, tuple[str | None, bytes]]:
    """Label and bytes of each good row, by name."""
    index, reader, found = ims.scan(source), FileReader(), {}
    for i in range(len(index)):
        label = int(index.labels[i])
        try:
            data = bytes(reader.read(index.path_bytes(i), LIMIT)[0])
        except ims.BadImage:
            continue
        found[index.relative_bytes(i)] = (index.class_names[label] if label >= 0 else None, data)
    return found


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_labels_and_bytes_are_those_of_the_folder_and_bad_files_are_listed(format_: str, photos: Path, tmp_path: Path) -> None:
    before, expected = contents(photos / "dark"), rows(photos)
    del expected[b"dark/05a.jpg"]  # its header is good
    report = pack(ims.scan(photos), tmp_path / "out", format_, shard_size=30_000)
    found = rows(tmp_path / "out")
    if format_ != "tfrecord":  # their names are text
        found[b"light/\xff.jpg"] = found.pop("light/�.jpg".encode())
    assert found == expected
    assert (report.rows, report.skipped, report.was_done) == (42, 2, False)
    assert report.shards > 2
    described = json.loads((tmp_path / "out/dataset.json").read_text())
    assert sum(shard["rows"] for shard in described["shards"]) == 42
    assert [shard["bytes"] for shard in described["shards"]] == [
        (tmp_path / "out" / shard["name"]).stat().st_size for shard in described["shards"]
    ]
    with (tmp_path / "out/skipped.csv").open() as file:
        assert [(row["path"], row["reason"]) for row in csv.DictReader(file)] == [
            ("dark/05a.jpg", "truncated"),
            ("light/empty.png", "empty"),
        ]
    assert contents(photos / "dark") == before
    assert sorted(os.listdir(tmp_path)) == ["out", "photos"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_pack_that_was_stopped_anywhere_goes_on_to_the_same_bytes(format_: str, photos: Path, tmp_path: Path) -> None:
    index, options = ims.scan(photos), {"shard_size": 20_000, "split": True}
    pack(index, tmp_path / "whole", format_, **options)

    def stop_at(limit: int) -> Any:
        def progress(done: int) -> None:
            if done >= limit:
                raise KeyboardInterrupt

        return progress

    for limit in (1, 9, 20, 37):
        with pytest.raises(KeyboardInterrupt):
            pack(index, tmp_path / "parts", format_, progress=stop_at(limit), **options)
        assert not (tmp_path / "parts").exists()
    counted: list[int] = []
    report = pack(index, tmp_path / "parts", format_, progress=counted.append, **options)
    assert counted[0] > 20  # what was finished is not read again
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert pack(index, tmp_path / "parts", format_, **options) == report._replace(was_done=True)
    assert pack(index, tmp_path / "threads", format_, workers=7, **options)._replace(was_done=False) == report
    assert contents(tmp_path / "threads") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_kill_at_random_moments_loses_and_doubles_nothing(photos: Path, tmp_path: Path) -> None:
    for copy in range(20):
        shutil.copytree(photos / "dark", photos / f"dark{copy}")
    script = (
        "import sys, imgstream as ims\nimport imgstream.packing.job as p\np.SMALLEST_SHARD = 1\n"
        "p.pack(ims.scan(sys.argv[1]), sys.argv[2], 'webdataset', shard_size=15_000)"
    )
    pack(ims.scan(photos), tmp_path / "whole", "webdataset", shard_size=15_000)
    draw, kills = random.Random(7), 0
    while not (tmp_path / "parts").exists():
        process = subprocess.Popen([sys.executable, "-c", script, str(photos), str(tmp_path / "parts")])
        staging = tmp_path / ".imgstream-pack-parts/.state"
        until = time.monotonic() + 60
        written = len(list(staging.glob("*.json"))) if staging.exists() else 0
        while kills < 4 and process.poll() is None and time.monotonic() < until:  # killed some shards after it began
            if staging.exists() and len(list(staging.glob("*.json"))) > written + draw.randrange(4):
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        process.wait()
    assert kills == 4
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_another_source_or_setting_is_packed_anew_and_never_over_what_is_there(photos: Path, tmp_path: Path) -> None:
    index = ims.scan(photos)

    def stop(done: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(index, tmp_path / "out", shard_size=10_000, progress=stop)
    pack(index, tmp_path / "out", shard_size=15_000)
    pack(index, tmp_path / "other", shard_size=15_000)
    assert contents(tmp_path / "out") == contents(tmp_path / "other")
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match="is there, and was not packed from these images in this way: choose another --out, or remove it"):
        pack(index.take([0, 1]), tmp_path / "out", shard_size=15_000)
    with pytest.raises(OutputError, match="the folder above it does not exist"):
        pack(index, tmp_path / "no/such/out")
    assert contents(tmp_path / "out") == before
    (tmp_path / "empty").mkdir()
    assert pack(index, tmp_path / "empty").rows == 42


def test_resized_images_are_upright_jpegs_that_are_never_enlarged(tmp_path: Path) -> None:
    folder = tmp_path / "photos/a"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.tile(np.arange(120, dtype=np.uint8)[:, None, None], (1, 200, 3))).save(folder / "turned.jpg", exif=exif, quality=95)
    Image.new("L", (40, 30), 77).save(folder / "small.png")
    pack(ims.scan(tmp_path / "photos"), tmp_path / "out", resize=60, quality=95)
    index, reader = ims.scan(tmp_path / "out"), FileReader()
    sizes = {}
    for i in range(2):
        data = bytes(reader.read(index.path_bytes(i), LIMIT)[0])
        with Image.open(io.BytesIO(data)) as image:
            sizes[index.relative_bytes(i)] = (image.format, image.size)
            pixels = np.asarray(image.convert("L")).astype(int)
    assert sizes == {b"a/small.png": ("JPEG", (40, 30)), b"a/turned.jpg": ("JPEG", (60, 100))}
    assert pixels[:, 0].mean() > pixels[:, -1].mean() + 80  # the top of the stored image is on the right


def test_shards_have_the_split_of_the_source_or_that_of_train(two_classes: Path, tmp_path: Path) -> None:
    index = ims.scan(two_classes)
    pack(index, tmp_path / "out", split=True)
    train, val = ims.scan(tmp_path / "out").split()
    expected = index.split()
    assert [[side.relative_bytes(i) for i in range(len(side))] for side in (train, val)] == [
        [side.relative_bytes(i) for i in range(len(side))] for side in expected
    ]
    for part, some in (("train", "dark/0*"), ("test", "light/1*")):
        for path in two_classes.glob(some):
            (tmp_path / "given" / part / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "given" / part / path.parent.name)
    pack(ims.scan(tmp_path / "given"), tmp_path / "parts", "parquet")
    assert {name for name in os.listdir(tmp_path / "parts") if name.endswith("parquet")} == {"train-00000.parquet", "test-00000.parquet"}


def test_impossible_arguments_and_a_source_without_a_good_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_text("<html>")
    index = ims.scan(tmp_path / "photos")
    for wrong in ({"format": "zip"}, {"shard_size": 0}, {"resize": 0}, {"quality": 101}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            pack(index, tmp_path / "out", **wrong)  # type: ignore[arg-type]
    with pytest.raises(NoImagesError, match=r"all 1 files are bad; the first is a\.jpg: wrong kind"):
        pack(index, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_packs_what_any_command_takes(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(ims.scan(two_classes), tmp_path / "first", "webdataset")
    arguments = ["pack", str(tmp_path / "first"), "-o", str(tmp_path / "second"), "--format", "tfrecord", "--json"]
    for was_done in (False, True):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        told = json.loads(capsys.readouterr().out)
        assert PackReport(**{name: told[name] for name in PackReport._fields}) == (40, 0, 1, told["bytes"], was_done)
    assert rows(tmp_path / "second") == rows(two_classes)


# ---- other tools


@pytest.mark.slow
def test_tensorflow_reads_the_records(two_classes: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    pack(ims.scan(two_classes), tmp_path / "out", shard_size=30_000)
    files = sorted(map(str, (tmp_path / "out").glob("*.tfrecord")))
    features = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/filename": tf.io.FixedLenFeature((), tf.string),
        "image/class/label": tf.io.FixedLenFeature((), tf.int64),
        "image/class/text": tf.io.FixedLenFeature((), tf.string),
        "image/height": tf.io.FixedLenFeature((), tf.int64),
    }
    found = {}
    for record in tf.data.TFRecordDataset(files):
        one = tf.io.parse_single_example(record, features)
        assert (int(one["image/height"]), int(one["image/class/label"])) == (40, int(one["image/class/text"] == b"light"))
        found[one["image/filename"].numpy()] = (one["image/class/text"].numpy().decode(), one["image/encoded"].numpy())
    assert found == rows(two_classes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")  # it leaves files open
def test_webdataset_reads_the_archives(two_classes: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the package that reads such archives")
    pack(ims.scan(two_classes), tmp_path / "out", "webdataset", shard_size=30_000)
    files = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    found = {}
    for sample in webdataset.WebDataset(files, shardshuffle=False):
        about = json.loads(sample["json"])
        assert int(sample["cls"]) == ("dark", "light").index(about["label"])
        found[about["filename"].encode()] = (about["label"], sample["jpg"])
    assert found == rows(two_classes)


@pytest.mark.slow
def test_hugging_face_reads_the_parquet_files(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the package whose features the files have")
    pack(ims.scan(two_classes), tmp_path / "out", "parquet", shard_size=30_000)
    files = sorted(map(str, (tmp_path / "out").glob("*.parquet")))
    table = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "hf"))
    assert table.features["label"].names == ["dark", "light"]
    assert table[0]["image"].size == (48, 40)
    raw = table.cast_column("image", datasets.Image(decode=False))
    found = {row["image"]["path"].encode(): (table.features["label"].int2str(row["label"]), row["image"]["bytes"]) for row in raw}
    assert found == rows(two_classes)
