"""Advice by value: the same figures always give the same words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import imgstream as ims
from imgstream.profiling import Advice, Figures, advise
from imgstream.profiling.advice import loader_shares
from imgstream.profiling.figures import Augment, BadFile, Decode, Part, Rate, Read, Reading, Sizes


def rate(images_per_second: float) -> Rate:
    return Rate(images=1000, seconds=1000 / images_per_second)


def reading(files_per_second: float) -> Reading:
    return Reading(files=1000, bytes=100_000_000, seconds=1000 / files_per_second)  # files of 100 kB


def read(first: float | None, again: float) -> Read:
    found = None if first is None else reading(first)
    return Read(one_thread_first=found, one_thread_again=reading(again), all_threads_first=found, all_threads_again=reading(again))


def decode(one: float, every: float, stored: float = 10_000.0) -> Decode:
    sizes = Sizes(file_bytes=100_000.0, stored_pixels=stored, decoded_pixels=stored / 4)
    return Decode(one_thread=rate(one), all_threads=rate(every), sizes=sizes)


FIGURES = Figures(
    directory="photos",
    files=6000,
    classes=2,
    outputs=2,
    spec=ims.SampleSpec(size=(100, 100)),
    small=None,
    model="cnn",
    batch_size=64,
    threads=2,
    device="tensorflow gpu",
    idle_gpu=None,
    memory_bytes=24_000_000_000,
    seconds=30.0,
    tried=1000,
    bad=(),
    read=read(20_000, 20_000),
    decode=decode(2000, 4000),
    augment=Augment(name="light", microseconds=10.0, parts=()),
    loader=rate(3900),
    transfer=rate(50_000),
    step=rate(271),
    together=None,
)
"""A step that takes 271 images/s, beside a loader that gives 3,900."""

SLOW = {"loader": rate(120), "decode": decode(64, 126), "step": rate(265)}
"""Decoding that binds."""


def advice(**changes: Any) -> Advice:
    return advise(dataclasses.replace(FIGURES, **changes))


def test_the_slowest_stage_is_the_upper_bound_and_gives_the_minutes_of_an_epoch() -> None:
    found = advice()
    assert found.binding == "step"
    assert found.upper_bound == pytest.approx(271)
    assert found.minutes == pytest.approx(6000 / 271 / 60)


def test_a_step_that_binds_far_below_the_loader_says_not_to_tune_the_loader() -> None:
    assert advice().sentences[0] == "The training step binds: 271 images/s; the loader gives 3,900: the loader is not what to tune."


def test_a_step_that_binds_near_the_loader_says_that_both_matter() -> None:
    assert advice(loader=rate(300)).sentences[0] == "The training step binds: 271 images/s; the loader gives 300: both matter."


def test_on_a_cpu_a_loader_four_times_as_fast_as_the_step_matters_too() -> None:
    expected = "The training step binds: 271 images/s; the loader gives 1,200: both matter, for they share the cores."
    assert advice(loader=rate(1200), device="tensorflow cpu").sentences[0] == expected
    assert "not what to tune" in advice(loader=rate(1200)).sentences[0]
    assert "not what to tune" in advice(loader=rate(1400), device="tensorflow cpu").sentences[0]


def test_decoding_that_binds_names_the_cache() -> None:
    found = advice(**SLOW)
    assert found.binding == "decode"
    assert found.upper_bound == pytest.approx(120)
    assert found.sentences[0] == (
        "Decoding binds: the loader gives 120 images/s, the step could take 265. 100 % of a loading thread's "
        "time is decoding and resizing: "
        "imgstream train --cache auto would serve epochs after the first from resized images."
    )


def test_an_augmentation_that_binds_is_named_with_the_transform_that_takes_most_of_it() -> None:
    parts = (Part(name="HorizontalFlip", microseconds=20.0), Part(name="MotionBlur", microseconds=1220.0))
    found = advice(loader=rate(200), augment=Augment(name="policy.yaml", microseconds=2000.0, parts=parts))
    assert found.binding == "augment"
    assert found.sentences[0] == (
        "The augmentation binds: the loader gives 200 images/s, the step could take 271. 2,000 µs an image "
        "are 78 % of a loading thread's time: "
        "a lighter --augment is what would help."
    )
    assert "The transform MotionBlur takes 61 % of the augmentation: 1,220 of 2,000 µs an image." in found.sentences


def test_a_transform_is_not_named_where_the_loader_does_not_count() -> None:
    parts = (Part(name="HorizontalFlip", microseconds=20.0), Part(name="MotionBlur", microseconds=1220.0))
    found = advice(augment=Augment(name="policy.yaml", microseconds=2000.0, parts=parts))
    assert not any("MotionBlur" in sentence for sentence in found.sentences)


def test_reading_from_the_page_cache_can_bind() -> None:
    found = advice(loader=rate(200), read=read(100, 110))
    assert found.binding == "read"
    assert found.sentences[0].startswith(
        "Reading binds: the loader gives 200 images/s, the step could take 271. 95 % of a loading thread's"
    )


def test_a_transfer_that_binds_is_named() -> None:
    found = advice(transfer=rate(100))
    assert found.binding == "transfer"
    assert found.sentences[0] == "Handing batches to Keras binds: 100 images/s; the loader gives 3,900, the step could take 271."


def test_a_slow_storage_binds_every_epoch_of_a_folder_larger_than_the_memory() -> None:
    found = advice(read=read(150, 20_000), files=1_000_000)
    assert (found.binding, found.upper_bound) == ("read", pytest.approx(150))
    assert found.sentences[0] == (
        "Reading from the storage binds: 150 files/s the first time; from memory the loader gives 3,900 "
        "images/s, and the step could take 271. "
        "About 100 GB of files do not stay in 24 GB of memory: imgstream train --cache auto would serve "
        "epochs after the first from resized "
        "images."
    )


def test_a_slow_storage_binds_the_first_epoch_alone_of_a_folder_that_fits_in_memory() -> None:
    found = advice(read=read(150, 20_000))
    assert found.binding == "step"
    expected = (
        "Reading: 150 files/s the first time, 20,000 again. So the storage binds the first epoch, at 150 images/s, but none after it."
    )
    assert expected in found.sentences


def test_a_first_reading_faster_than_the_bound_says_that_the_page_cache_may_have_been_warm() -> None:
    expected = (
        "Reading: 9,000 files/s the first time, 20,000 again: more than the bound. Where the page cache held the files already, a cold "
        "folder reads slower."
    )
    assert expected in advice(read=read(9000, 20_000)).sentences


def test_files_all_read_by_one_thread_say_nothing_of_a_first_time() -> None:
    assert not any(sentence.startswith("Reading:") for sentence in advice(read=read(None, 20_000)).sentences)


def test_files_larger_than_needed_are_told_where_decoding_counts() -> None:
    large = decode(64, 126, stored=12_200_000)
    expected = (
        "The files are larger than needed: at the median 12.2 megapixels, decoded as 3.0 megapixels, for samples of 10,000 pixels. Smaller "
        "copies of them would decode faster."
    )
    assert expected in advice(**{**SLOW, "decode": large}).sentences
    assert expected not in advice(decode=large).sentences
    assert expected not in advice(**{**SLOW, "decode": decode(64, 126, stored=39_000)}).sentences


def test_loader_and_step_on_a_cpu_are_compared_with_one_after_the_other() -> None:
    found = advice(together=rate(250), device="tensorflow cpu")
    expected = (
        "Loader and step together gave 250 images/s, 92 % of the bound: on a CPU both share the cores, and "
        "one after the other would give 253."
    )
    assert expected in found.sentences
    assert "Loader and step together gave 250 images/s, 92 % of the bound." in advice(together=rate(250)).sentences


def test_threads_that_do_not_help_are_told() -> None:
    assert any(
        sentence.startswith("Decoding on 2 threads is only 1.1 times as fast") for sentence in advice(decode=decode(2000, 2200)).sentences
    )
    assert not any("times as fast" in sentence for sentence in advice(decode=decode(2000, 3000)).sentences)
    assert not any("times as fast" in sentence for sentence in advice(decode=decode(2000, 9000), threads=16).sentences)


def test_smaller_samples_at_first_are_told() -> None:
    expected = (
        "All this is for 100x100. Training does the first 60 % of its work at 64x64, where a step has 41 % of the pixels and is quicker by "
        "about as much."
    )
    assert expected in advice(small=(64, 64)).sentences


@pytest.mark.parametrize(("classes", "found"), [(0, "no classes"), (1, "one class")])
def test_a_folder_without_two_classes_says_with_how_many_outputs_the_step_was_measured(classes: int, found: str) -> None:
    expected = f"The folder has {found}, and training needs two or more: the step was measured with 2 outputs."
    assert expected in advice(classes=classes).sentences


def test_bad_files_are_told_with_what_training_does_about_them() -> None:
    few = tuple(BadFile(path=f"{i}.jpg", reason="empty", detail="0 bytes") for i in range(20))
    assert "20 of 1,000 files tried are bad, 2 %: about 120 or more in the folder. Training leaves them out and lists them." in (
        advice(bad=few).sentences
    )
    many = (
        "100 of 1,000 files tried are bad, 10 %: about 600 or more in the folder. Training stops at more than 5 %: "
        "mend them, or allow them with --max-bad."
    )
    assert many in advice(bad=5 * few).sentences
    assert "20 of 1,000 files tried are bad, 2 %. Training leaves them out and lists them." in advice(bad=few, files=1000).sentences


def test_the_shares_of_a_loading_thread_add_up_to_1() -> None:
    shares = loader_shares(dataclasses.replace(FIGURES, read=read(5000, 5000), decode=decode(2000, 4000)))
    assert shares == pytest.approx({"read": 200 / 710, "decode": 500 / 710, "augment": 10 / 710})


def test_the_json_has_the_rate_of_loader_and_step_together_or_null_where_no_time_was_left_for_it() -> None:
    both = dataclasses.replace(FIGURES, together=rate(250)).to_json()["together"]
    assert (both["images"], both["images_per_second"]) == (1000, pytest.approx(250))
    assert FIGURES.to_json()["together"] is None


@pytest.mark.parametrize(
    ("device", "idle_gpu", "said"),
    [
        ("tensorflow cpu", "NVIDIA H200", "This machine has a GPU, NVIDIA H200, which tensorflow does not use: pip install"),
        ("torch gpu", None, "Try KERAS_BACKEND=jax"),
        ("jax gpu", None, None),
        ("tensorflow cpu", None, None),
    ],
)
def test_a_gpu_that_lies_idle_and_a_slow_backend_are_told(device: str, idle_gpu: str | None, said: str | None) -> None:
    sentences = " ".join(advise(dataclasses.replace(FIGURES, device=device, idle_gpu=idle_gpu)).sentences)
    if said is None:
        assert "GPU" not in sentences
        assert "KERAS_BACKEND" not in sentences
    else:
        assert said in sentences
