"""Each stage on a small real folder: what it did and what it found, never how long it took."""

from __future__ import annotations

import math
from pathlib import Path

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest

import imgstream as ims
from imgstream.augment import resolve
from imgstream.errors import AugmentError, ModelError, NoImagesError
from imgstream.profiling import Figures, examine
from imgstream.profiling.figures import Augment
from imgstream.profiling.stages import (
    Bad,
    augment_stage,
    decode_stage,
    load,
    loader_stage,
    plain_samples,
    read_stage,
    ready_batch,
    transfer_stage,
)

pytestmark = pytest.mark.usefixtures("small_cnn")

SPEC = ims.SampleSpec(size=(24, 32))
SHORT = 0.05
"""Seconds for a stage."""
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), np.uint8)


def rates(figures: Figures) -> list[float]:
    """Every rate that `figures` holds."""
    read, decode = figures.read, figures.decode
    readings = [read.one_thread_first, read.one_thread_again, read.all_threads_first, read.all_threads_again]
    streams = [decode.one_thread, decode.all_threads, figures.loader, figures.transfer, figures.step, figures.together]
    return [
        *(rate for r in readings if r is not None for rate in (r.files_per_second, r.megabytes_per_second)),
        *(r.images_per_second for r in streams if r is not None),
    ]


@pytest.fixture
def mixed(two_classes: Path, tmp_path: Path) -> Path:
    """Three good images, and a truncated one, a text and an empty file, in one class."""
    folder = tmp_path / "mixed" / "only"
    folder.mkdir(parents=True)
    for i in range(3):
        (folder / f"good{i}.jpg").write_bytes((two_classes / "light" / f"{i:02}.jpg").read_bytes())
    (folder / "cut.jpg").write_bytes((two_classes / "light" / "05.jpg").read_bytes()[:-200])
    (folder / "text.jpg").write_text("no image")
    (folder / "none.jpg").write_bytes(b"")
    return folder.parent


def test_reading_touches_half_of_the_files_with_one_thread_and_the_others_with_all(two_classes: Path) -> None:
    index, bad = ims.scan(two_classes), Bad()
    read, good = read_stage(index, 2, 1.0, SPEC.max_pixels, bad)
    assert read is not None
    assert read.one_thread_first is not None
    assert read.all_threads_first is not None
    assert (read.one_thread_first.files, read.all_threads_first.files) == (20, 20)
    assert read.one_thread_first.bytes == sum(Path(index.path(i)).stat().st_size for i in range(20))
    assert sorted(good) == list(range(40))
    assert not bad


def test_reading_again_reads_only_files_that_are_good(mixed: Path) -> None:
    index, bad = ims.scan(mixed), Bad()
    read, good = read_stage(index, 2, 4 * SHORT, SPEC.max_pixels, bad)
    assert {index.relative_bytes(i) for i in good} == {b"only/cut.jpg", *(b"only/good%d.jpg" % i for i in range(3))}
    assert {index.relative_bytes(i): error.reason for i, error in bad.items()} == {
        b"only/text.jpg": "wrong kind",
        b"only/none.jpg": "empty",
    }
    assert read is not None
    assert read.all_threads_again.files > 4


def test_one_file_alone_leaves_none_that_all_threads_could_read_for_the_first_time(two_classes: Path) -> None:
    read, good = read_stage(ims.scan(two_classes).take([7]), 2, 4 * SHORT, SPEC.max_pixels, {})
    assert read is not None
    assert read.all_threads_first is None
    assert read.first is read.one_thread_first
    assert read.all_threads_again.files > 1
    assert good == [0]


def test_a_folder_of_bad_files_gives_no_reading_and_ends(mixed: Path) -> None:
    for file in mixed.glob("only/[!t]*"):
        file.unlink()
    bad: Bad = {}
    assert read_stage(ims.scan(mixed), 2, SHORT, SPEC.max_pixels, bad) == (None, [])
    assert len(bad) == 1


def test_decoding_goes_round_the_good_files_and_notes_the_others(mixed: Path) -> None:
    index, bad = ims.scan(mixed), Bad()
    loaded = load(index, range(len(index)), 1.0, SPEC.max_pixels, bad)
    assert len(loaded) == 4
    decode = decode_stage(loaded, SPEC, 2, 2 * SHORT, bad)
    assert decode is not None
    assert decode.one_thread.images > 3
    assert decode.all_threads.images > 3
    assert decode.sizes.stored_pixels == 40 * 48
    assert decode.sizes.decoded_pixels == 40 * 48  # half of 48 pixels is too few for 32
    assert {index.relative_bytes(i): error.reason for i, error in bad.items()}[b"only/cut.jpg"] == "truncated"
    assert len(plain_samples(loaded, SPEC, 1.0, bad)) == 3


def test_the_decoded_pixels_are_those_of_the_reduced_jpeg(two_classes: Path) -> None:
    loaded = load(ims.scan(two_classes), range(8), 1.0, SPEC.max_pixels, {})
    decode = decode_stage(loaded, ims.SampleSpec(size=(10, 12)), 1, SHORT, {})
    assert decode is not None
    assert decode.sizes.decoded_pixels == 40 * 48 / 4**2


def test_only_bad_files_give_no_decoding_and_end(mixed: Path) -> None:
    index = ims.scan(mixed)
    cut = [i for i in range(len(index)) if index.path(i).endswith("cut.jpg")]
    assert decode_stage(load(index, cut, 1.0, SPEC.max_pixels, {}), SPEC, 2, SHORT, {}) is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("light", ["crop box", "flip"]),
        ("standard", ["crop box", "flip", "colour"]),
        ("strong", ["crop box", "flip", "colour", "rotation", "erasing", "mixing"]),
    ],
)
def test_a_presets_parts_are_what_it_does(name: str, parts: list[str]) -> None:
    before = IMAGES.copy()
    augment = augment_stage(resolve(name), IMAGES, 0, SHORT)
    assert augment.name == name
    assert [part.name for part in augment.parts] == parts
    assert augment.microseconds > 0
    assert all(0 <= augment.share(part) <= 1 for part in augment.parts)
    assert np.array_equal(IMAGES, before)


def test_the_transforms_of_a_policy_are_listed_in_order_each_with_a_cost() -> None:
    policy = A.Compose([A.HorizontalFlip(p=0), A.OneOf([A.MotionBlur(p=1), A.GaussianBlur(p=1)], p=1), A.ElasticTransform(p=1)])
    augment = augment_stage(resolve(policy), np.zeros((2, 128, 128, 3), np.uint8), 0, 4 * SHORT)
    assert [part.name for part in augment.parts] == ["HorizontalFlip", "OneOf(MotionBlur, GaussianBlur)", "ElasticTransform"]
    assert all(part.microseconds > 0 for part in augment.parts)
    assert augment.name == "Compose"


def test_every_kind_of_albumentations_policy_is_taken() -> None:
    for policy in (A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)], p=1), A.SomeOf([A.HorizontalFlip(), A.Transpose(p=0)], n=2)):
        augment = augment_stage(resolve(policy), IMAGES, 0, SHORT)
        assert len(augment.parts) == 2
        assert augment.microseconds > 0


def test_a_function_is_measured_as_a_whole() -> None:
    augment = augment_stage(resolve(lambda image, rng: image), IMAGES, 0, SHORT)
    assert augment.parts == ()
    assert augment.microseconds > 0


def test_no_augmentation_costs_nothing() -> None:
    assert augment_stage(None, IMAGES, 0, SHORT) == Augment(name="none", microseconds=0.0, parts=())


def test_an_augmentation_that_breaks_a_sample_is_named() -> None:
    with pytest.raises(AugmentError, match="must return the same"):
        augment_stage(resolve(lambda image, rng: image[1:]), IMAGES, 0, SHORT)


def test_the_loader_goes_round_a_tiny_folder_and_notes_bad_files(mixed: Path) -> None:
    index, bad = ims.scan(mixed), Bad()
    for seconds in (SHORT, 1, 30):  # on a busy machine the first may not do for one round
        loader = loader_stage(ims.Stream(index, SPEC, batch_size=4, shuffle=True, augment="strong"), 1e6, seconds, bad)
        if loader.images > len(index):
            break
    assert loader.images > len(index)
    assert {index.relative_bytes(i) for i in bad} == {b"only/cut.jpg", b"only/text.jpg", b"only/none.jpg"}


@pytest.mark.slow
def test_a_loader_whose_files_have_all_gone_says_so_and_ends(mixed: Path) -> None:
    index = ims.scan(mixed)
    for file in mixed.glob("only/*"):
        file.unlink()
    with pytest.raises(NoImagesError, match="gone away"):
        loader_stage(ims.Stream(index, SPEC, shuffle=True), 1e6, SHORT, {})


def test_a_batch_is_full_however_few_files_there_are_and_reaches_keras(two_classes: Path) -> None:
    images, labels = ready_batch(ims.Stream(ims.scan(two_classes).take([1, 2, 3]), SPEC, batch_size=8))
    assert images.shape == (8, 24, 32, 3)
    assert labels.tolist() == [0] * 8
    transfer = transfer_stage(images, SHORT)
    assert transfer.images == 8
    assert transfer.images_per_second > 0


def test_a_folder_is_examined_from_its_files_to_trained_steps(two_classes: Path) -> None:
    for seconds in (3, 15, 75):  # on a busy machine little time may leave none for loader and steps together
        names: list[str] = []
        figures = examine(ims.scan(two_classes), size=(32, 32), batch_size=8, augment="standard", seconds=seconds, stage=names.append)
        if figures.together is not None:
            break
    assert (figures.files, figures.classes, figures.outputs, figures.tried, figures.bad) == (40, 2, 2, 40, ())
    assert figures.spec == ims.SampleSpec(size=(32, 32), scale="signed")
    assert figures.together is not None
    assert all(rate > 0 and math.isfinite(rate) for rate in rates(figures))
    assert figures.step.images % 8 == 0
    assert names[1] == "compiling cnn"
    assert names[-1] == "loader and steps together"
    assert figures.folder_bytes == pytest.approx(sum(f.stat().st_size for f in two_classes.glob("*/*.jpg")), rel=0.1)


def test_a_folder_without_two_classes_is_stepped_with_two_outputs_and_its_bad_files_are_told(mixed: Path) -> None:
    figures = examine(ims.scan(mixed), size=(32, 32), batch_size=8, augment="strong", seconds=2)
    assert (figures.classes, figures.outputs, figures.tried) == (1, 2, 6)
    assert {(bad.path, bad.reason) for bad in figures.bad} == {
        ("only/cut.jpg", "truncated"),
        ("only/text.jpg", "wrong kind"),
        ("only/none.jpg", "empty"),
    }
    assert all(rate > 0 for rate in rates(figures))


def test_what_cannot_be_examined_is_refused(two_classes: Path, mixed: Path) -> None:
    for file in mixed.glob("only/good*"):
        file.unlink()
    with pytest.raises(NoImagesError, match="none of 3 images"):
        examine(ims.scan(mixed), size=(32, 32), seconds=1)
    with pytest.raises(ModelError, match="no model named"):
        examine(ims.scan(two_classes), model="nonesuch")
    with pytest.raises(AugmentError, match="no augmentation named"):
        examine(ims.scan(two_classes), augment="nonesuch")
