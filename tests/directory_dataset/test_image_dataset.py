"""image_dataset_from_directory beside Keras' own, by value."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.errors import NoImagesError

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

Picture = Callable[..., None]


def ours(directory: Path, **arguments: Any) -> Any:
    return ims.image_dataset_from_directory(directory, **({"image_size": (6, 8), "verbose": False} | arguments))


def theirs(directory: Path, **arguments: Any) -> Any:
    return keras.utils.image_dataset_from_directory(directory, **({"image_size": (6, 8), "verbose": False} | arguments))


def images_of(dataset: Any) -> np.ndarray:
    return np.concatenate([(batch[0] if isinstance(batch, tuple) else batch).numpy() for batch in dataset])


def labels_of(dataset: Any) -> np.ndarray:
    return np.concatenate([labels.numpy() for _, labels in dataset])


def sorted_rows(images: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() for image in images)


# ---- what it takes, lists and labels


def test_it_takes_what_keras_takes_with_the_same_defaults_in_the_same_order() -> None:
    keras_signature = inspect.signature(keras.utils.image_dataset_from_directory).parameters
    own = inspect.signature(ims.image_dataset_from_directory).parameters
    assert {name: own[name].default for name in list(own)[: len(keras_signature)]} == {
        name: parameter.default for name, parameter in keras_signature.items()
    }


@pytest.mark.quick("shuffle-class_names", "seed-validation_split-subset")
@pytest.mark.parametrize(
    "arguments",
    [
        {"shuffle": False},
        {"shuffle": False, "class_names": ["dogs", "cats"]},
        {"class_names": ["cats"], "shuffle": False},
        {"labels": None, "shuffle": False},
        {"label_mode": None},
        {"seed": 3},
        {"labels": [5, 1, 5, 1, 1, 5, 5, 1, 5, 1, 1, 5], "shuffle": False},
        {"seed": 3, "validation_split": 0.3, "subset": "training"},
        {"seed": 3, "validation_split": 0.3, "subset": "validation"},
        {"shuffle": False, "validation_split": 0.3, "subset": "validation"},
    ],
    ids=lambda arguments: "-".join(arguments) + ("-validation" if arguments.get("subset") == "validation" else ""),
)
def test_files_classes_and_labels_are_those_of_keras(photos: Path, arguments: dict[str, Any]) -> None:
    if arguments == {"label_mode": None}:
        arguments |= {"shuffle": False}
    found, expected = ours(photos, **arguments), theirs(photos, **arguments)
    assert found.file_paths == expected.file_paths
    assert found.class_names == expected.class_names
    assert found.element_spec == expected.element_spec
    assert len(found) == len(expected)
    if not arguments.get("shuffle", True) and isinstance(found.element_spec, tuple):
        np.testing.assert_array_equal(labels_of(found), labels_of(expected))


@pytest.mark.slow
def test_both_sides_of_a_split_are_those_of_keras(photos: Path) -> None:
    split: dict[str, Any] = {"seed": 11, "validation_split": 0.25, "subset": "both"}
    for found, expected in zip(ours(photos, **split), theirs(photos, **split), strict=True):
        assert found.file_paths == expected.file_paths
        assert not found.stream.shuffle or len(found.file_paths) == 9


@pytest.mark.slow
def test_labels_are_whole_numbers_a_column_or_one_hot(photos: Path) -> None:
    classes = [0] * 8 + [1] * 4
    plain, column, hot = (labels_of(ours(photos, shuffle=False, label_mode=mode)) for mode in ("int", "binary", "categorical"))
    assert (plain.dtype, plain.tolist()) == (np.int32, classes)
    assert (column.dtype, column.tolist()) == (np.float32, [[n] for n in classes])
    assert (hot.dtype, hot.tolist()) == (np.float32, np.eye(2)[classes].tolist())


@pytest.mark.slow
def test_links_are_followed_where_asked_and_hidden_files_never(photos: Path, tmp_path: Path, picture: Picture) -> None:
    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    picture(root / "a" / "1.png")
    picture(root / "a" / ".2.png")
    picture(elsewhere / "3.png")
    (root / "a" / "linked").symlink_to(elsewhere)
    (root / "b").symlink_to(photos / "dogs")  # a class may be a link
    assert len(ours(root).file_paths) == 5
    assert len(ours(root, follow_links=True).file_paths) == 6
    (root / "a" / "linked" / "back").symlink_to(root)
    assert len(ours(root, follow_links=True).file_paths) == 6


@pytest.mark.slow
def test_kinds_that_keras_does_not_list_are_told_of_and_taken_where_asked(
    tmp_path: Path, picture: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/1.png", "a/2.webp", "b/3.jpg", "b/4.TIF"):
        picture(tmp_path / name)
    assert len(ours(tmp_path, verbose=True).file_paths) == 2
    assert capsys.readouterr().out == "Found 2 files belonging to 2 classes. Left out: 1 .webp, 1 .tif; formats=None takes them.\n"
    dataset = ours(tmp_path, formats=None, shuffle=False)
    assert [os.path.basename(path) for path in dataset.file_paths] == ["1.png", "2.webp", "3.jpg", "4.TIF"]
    assert labels_of(dataset).tolist() == [0, 0, 1, 1]


@pytest.mark.slow
def test_the_number_of_files_is_printed_as_keras_prints_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split: dict[str, Any] = {"seed": 1, "validation_split": 0.2, "subset": "both", "verbose": True}
    ours(photos, **split)
    printed = capsys.readouterr().out
    theirs(photos, **split)
    assert printed == capsys.readouterr().out
    ours(photos, **split | {"verbose": False})
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_paths_are_a_sequence_that_equals_a_list(photos: Path) -> None:
    paths = ours(photos, shuffle=False).file_paths
    listed = list(paths)
    assert len(paths) == len(listed) == 12
    assert (paths[0], paths[-1], paths[2:4]) == (listed[0], listed[-1], listed[2:4])
    assert paths == listed
    assert paths != listed[1:]
    assert np.asarray(paths).tolist() == listed
    with pytest.raises(IndexError):
        paths[12]


# ---- its order


def test_each_pass_has_every_file_once_in_another_order(tmp_path: Path) -> None:
    for i in range(70):
        path = tmp_path / "a" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), i, np.uint8)).save(path)
    dataset = ours(tmp_path, seed=5, batch_size=4)
    one, two = (images_of(dataset)[:, 0, 0, 0].tolist() for _ in range(2))
    assert sorted(one) == sorted(two) == list(range(70))
    assert one != two
    assert max(one[:8]) > 45, "no buffer of a few batches could bring these so early"
    assert images_of(ours(tmp_path, seed=5, batch_size=4))[:, 0, 0, 0].tolist() == one


@pytest.mark.slow
def test_without_a_seed_the_order_follows_from_the_seed_that_keras_sets(photos: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        orders.append(images_of(ours(photos)).tobytes())
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.slow
def test_split_by_path_a_new_file_moves_no_other(photos: Path, tmp_path: Path, picture: Picture) -> None:
    root = tmp_path / "set"
    shutil.copytree(photos, root)
    split: dict[str, Any] = {"validation_split": 0.3, "subset": "both", "split_by": "path"}
    before = [set(side.file_paths) for side in ours(root, **split)]
    assert not before[0] & before[1]
    assert len(before[0] | before[1]) == 12
    picture(root / "cats" / "00-new.png")
    after = [set(side.file_paths) for side in ours(root, **split)]
    assert all(old <= new for old, new in zip(before, after, strict=True))


# ---- its pixels


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("color_mode", ["rgb", "grayscale"])
def test_bilinear_images_are_those_of_a_stream(photos: Path, fit: Any, color_mode: str) -> None:
    aspect = {"crop_to_aspect_ratio": fit == "crop", "pad_to_aspect_ratio": fit == "pad"}
    dataset = ours(photos, shuffle=False, color_mode=color_mode, **aspect)
    spec = ims.SampleSpec(size=(6, 8), fit=fit, channels=3 if color_mode == "rgb" else 1, scale="raw")
    expected = np.concatenate([images for images, _ in ims.Stream(dataset.stream.index, spec).batches()])
    np.testing.assert_allclose(images_of(dataset), expected, rtol=0, atol=1)
    assert images_of(dataset).max() > 100


@pytest.mark.quick("bicubic")
@pytest.mark.parametrize("interpolation", ["nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"])
def test_other_interpolations_are_those_of_keras(photos: Path, interpolation: str) -> None:
    for pad in (False, True):
        arguments: dict[str, Any] = {"shuffle": False, "interpolation": interpolation, "pad_to_aspect_ratio": pad}
        found, expected = ours(photos, **arguments), theirs(photos, **arguments)
        lossless = [path.endswith(".png") for path in found.file_paths]
        assert images_of(found).dtype == np.float32
        np.testing.assert_allclose(images_of(found)[lossless], images_of(expected)[lossless], rtol=0, atol=1e-3)
        assert np.abs(images_of(found) - images_of(expected)).max() < 8, "Keras takes the fast DCT for JPEGs"


def test_alpha_is_kept_where_a_file_has_it_and_opaque_elsewhere(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a" / "1.png", channels=4)
    picture(tmp_path / "a" / "2.png")
    palette = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("P")
    palette.save(tmp_path / "a" / "3.png", transparency=7)
    expected = images_of(theirs(tmp_path, labels=None, shuffle=False, color_mode="rgba"))
    picture(tmp_path / "a" / "4.jpg")  # which Keras cannot read with four channels
    found = images_of(ours(tmp_path, labels=None, shuffle=False, color_mode="rgba"))
    np.testing.assert_allclose(found[:3], expected[:3], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[3, ..., :3], expected[1, ..., :3], rtol=0, atol=20)
    assert found[0, ..., 3].std() > 10
    assert (found[[1, 3], ..., 3] == 255).all()
    assert (found[2, 0, 7, 3], found[2, 0, 6, 3]) == (0, 255)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_images_stand_upright(tmp_path: Path, interpolation: str) -> None:
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    left = np.zeros((16, 24, 3), np.uint8)
    left[:, :12] = 255
    Image.fromarray(left).save(tmp_path / "a" / "turned.jpg", exif=exif, quality=95)
    (image,) = images_of(ours(tmp_path, image_size=(6, 4), interpolation=interpolation))
    assert image[0].min() > 240, "stored left is above when turned by 90°"
    assert image[-1].max() < 15


@pytest.mark.quick("bicubic")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_bad_files_are_left_out_and_listed(tmp_path: Path, picture: Picture, interpolation: str) -> None:
    for i in range(6):
        picture(tmp_path / "ab"[i % 2] / f"{i}.jpg")
    (tmp_path / "a" / "2.jpg").write_text("<html>")
    (tmp_path / "b" / "3.jpg").write_bytes(b"")
    dataset = ours(tmp_path, shuffle=False, batch_size=2, interpolation=interpolation)
    assert [labels.numpy().tolist() for _, labels in dataset] == [[0], [0, 1], [1]]
    assert sorted((os.path.basename(path), reason) for path, reason in dataset.stream.skipped) == [
        ("2.jpg", "wrong kind"),
        ("3.jpg", "empty"),
    ]
    assert len(dataset) == 3


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "area"])
def test_channels_may_come_first_and_samples_alone(photos: Path, interpolation: str) -> None:
    whole: dict[str, Any] = {"shuffle": False, "interpolation": interpolation}
    last = images_of(ours(photos, **whole))
    np.testing.assert_array_equal(images_of(ours(photos, **whole, data_format="channels_first")), last.transpose(0, 3, 1, 2))
    single = ours(photos, **whole, batch_size=None)
    assert len(single) == 12
    np.testing.assert_array_equal(np.stack([image.numpy() for image, _ in single]), last)


@pytest.mark.slow
def test_a_dataset_has_static_shapes_in_a_graph(photos: Path) -> None:
    shapes = []

    @tf.function(autograph=False)  # TensorFlow 2.21's own fails on Python 3.13
    def look(dataset: Any) -> None:
        images, _ = dataset.take(1).get_single_element()
        shapes.append(images.shape.as_list())

    look(ours(photos, batch_size=8))
    assert shapes[0] == [None, 6, 8, 3]


# ---- what it refuses


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "other"}, "`labels` argument should be"),
        ({"label_mode": "other"}, "`label_mode` argument must be one of"),
        ({"color_mode": "other"}, "`color_mode` must be one of"),
        ({"labels": [0] * 12, "class_names": ["cats"]}, 'only pass `class_names` if `labels="inferred"`'),
        ({"labels": [0, 1, 1]}, "match the number of files in the target directory. len\\(labels\\) is 3 while we found 12 files"),
        ({"labels": [object()] * 12}, "integer labels"),
        ({"class_names": ["cats", "wolves"]}, "`class_names` passed did not match .* Expected: \\['cats', 'dogs'\\]"),
        ({"labels": None, "class_names": ["cats"]}, "`class_names` cannot be specified"),
        ({"label_mode": "binary", "class_names": ["cats"]}, "there must be exactly 2 class_names"),
        ({"validation_split": 2}, "`validation_split` must be between 0 and 1"),
        ({"validation_split": 0.2}, "If `subset` is set, `validation_split` must be set, and inversely"),
        ({"validation_split": 0.0, "subset": "training"}, "`validation_split` must be set"),
        ({"validation_split": 0.2, "subset": "other"}, '`subset` must be either "training", "validation" or "both"'),
        ({"validation_split": 0.2, "subset": "both"}, "must provide a `seed`"),
        ({"validation_split": 0.01, "subset": "both", "seed": 1}, "No validation images found"),
        ({"image_size": (1, 2, 3)}, "Expected a tuple of 2 integers"),
        ({"image_size": (0, 20)}, "size must be two whole numbers"),
        ({"interpolation": "spline"}, "Argument `interpolation` should be one of"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of `pad_to_aspect_ratio`"),
        ({"data_format": "sideways"}, "`data_format` argument must be one of"),
        ({"format": "grain"}, "without TensorFlow"),
        ({"format": "zarr"}, '`format` should be either "tf" or "grain"'),
        ({"split_by": "luck"}, "`split_by` must be one of"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
    ],
)
def test_what_cannot_be_is_a_value_error_that_says_so(photos: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        ours(photos, **arguments)
    assert isinstance(raised.value, ims.ImgstreamError)


def test_a_folder_that_is_not_there_is_the_error_that_keras_raises_and_ours(tmp_path: Path) -> None:
    for kind in (FileNotFoundError, NoImagesError):
        with pytest.raises(kind, match=r"No images found in directory .*nowhere: there is no such folder"):
            ours(tmp_path / "nowhere")


def test_a_folder_without_images_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"No images found in directory .* Allowed formats: .*found 1 \.txt"):
        ours(tmp_path)


@pytest.mark.slow
def test_keras_own_tests_of_the_function_pass(tmp_path: Path) -> None:
    """The file is part of the keras package; what is tried with Google's grain is not made here."""
    own_tests = Path(keras.__file__).parent / "src/utils/image_dataset_utils_test.py"
    if not own_tests.exists():
        pytest.skip("this installation of Keras has no tests")
    shutil.copy(own_tests, tmp_path / "keras_test.py")
    (tmp_path / "swapped.py").write_text(
        "import imgstream\nfrom keras.src.utils import image_dataset_utils as utils\n"
        "utils.image_dataset_from_directory = imgstream.image_dataset_from_directory\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "swapped", "-p", "no:cacheprovider", "-k", "not grain", "keras_test.py"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(ims.__file__).parents[1]}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "15 passed" in done.stdout
