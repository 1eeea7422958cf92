from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from imgstream.errors import ModelError
from imgstream.models import MODEL_NAMES, build_model, model_info
from imgstream.spec import SampleSpec


def test_cnn_gives_logits_of_the_classes_for_any_size_and_either_number_of_channels() -> None:
    for shape in ((32, 48, 3), (96, 96, 1)):
        model = build_model("cnn", shape, 5)
        logits = model(np.zeros((2, *shape), np.float32), training=False)
        assert tuple(logits.shape) == (2, 5)
        assert model.layers[-1].get_config()["activation"] == "linear"


def test_a_smaller_cnn_has_a_share_of_the_channels_and_so_its_square_of_the_weights() -> None:
    whole, half, quarter = (build_model(name, (None, None, 3), 2) for name in ("cnn", "cnn-small", "cnn-tiny"))
    assert [model.layers[-2].output.shape[-1] for model in (whole, half, quarter)] == [256, 128, 64]
    assert whole.count_params() > 3.8 * half.count_params() > 3.8 * 3.7 * quarter.count_params()


def test_every_name_but_our_own_is_of_keras_applications_and_is_found_in_any_case() -> None:
    for name in MODEL_NAMES:
        assert name in ("cnn", "cnn-small", "cnn-tiny", "SqueezeNet") or hasattr(keras.applications, name)
        assert model_info(name.upper()).name == name


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        *(
            ("cnn", "signed"),
            ("cnn-tiny", "signed"),
            ("MobileNetV2", "signed"),
            ("ResNet50V2", "signed"),
            ("DenseNet121", "imagenet"),
            ("EfficientNetB0", "raw"),
        ),
        *(("SqueezeNet", "caffe"), ("VGG16", "caffe"), ("VGG19", "caffe"), ("ResNet50", "caffe"), ("ResNet152", "caffe")),
    ],
)
def test_a_network_wants_the_scale_it_was_trained_with(name: str, scale: str) -> None:
    info = model_info(name)
    assert (info.scale, info.scale_guessed, info.is_saved) == (scale, False, False)


def test_caffe_samples_are_what_keras_feeds_its_resnet() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    ours = np.empty(pixels.shape, np.float32)
    SampleSpec(size=(2, 3), scale=model_info("ResNet50").scale).to_float(pixels, ours)
    theirs = keras.applications.resnet50.preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.quick("SqueezeNet")
@pytest.mark.parametrize("name", ["SqueezeNet", "MobileNetV2", "VGG16"])
def test_a_network_of_any_size_gives_the_same_whether_its_size_was_open_or_not(name: str) -> None:
    assert model_info(name).any_size
    opened, fixed = build_model(name, (None, None, 3), 2), build_model(name, (64, 48, 3), 2)
    fixed.set_weights(opened.get_weights())
    image = np.random.default_rng(0).random((1, 64, 48, 3), np.float32)
    np.testing.assert_allclose(opened(image, training=False), fixed(image, training=False), atol=1e-6)


def test_squeezenet_has_the_papers_number_of_weights_and_takes_images_from_32_pixels() -> None:
    model = build_model("SqueezeNet", (32, 32, 3), 10)
    assert sum(w.size for layer in model.layers[:-1] for w in layer.get_weights()) == 722_496  # 1,235,496 less conv10's 513,000
    assert model(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)
    with pytest.raises(ModelError, match="32 pixels"):
        build_model("SqueezeNet", (31, 40, 3), 10)


def test_an_application_has_a_linear_head_of_its_own() -> None:
    model = build_model("mobilenetv3small", (32, 32, 3), 7)
    assert model.output_shape == (None, 7)


def test_a_model_of_other_classes_gives_its_body(tmp_path: Path) -> None:
    source = build_model("cnn", (32, 32, 3), 10)
    source.save(tmp_path / "ten.keras")
    model = build_model("cnn", (32, 32, 3), 2, str(tmp_path / "ten.keras"))
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], source.layers[1].get_weights()[0])
    assert model.get_layer("logits").get_weights()[0].shape == (256, 2)


@pytest.mark.usefixtures("small_cnn")
def test_wrong_weights_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "pointer.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    (tmp_path / "html.keras").write_text("<html>")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    (tmp_path / "w.bin").write_bytes(b"")
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "folder.h5").mkdir()
    with zipfile.ZipFile(tmp_path / "notes.keras", "w") as archive:
        archive.writestr("notes.txt", "")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["a"]
        file.create_group("a").attrs["weight_names"] = ["k"]
        file["a"]["k"] = np.zeros((5, 5, 3, 1), np.float32)
    for name, words in (
        ("gone.h5", "cannot read"),
        ("pointer.h5", "Git LFS"),
        ("html.keras", "fetched whole"),
        ("cut.h5", "cut.h5"),
        ("w.bin", ".weights.h5"),
        ("empty.h5", "is empty"),
        ("empty.keras", "is empty"),
        ("folder.h5", "folder without model.keras"),
        ("notes.keras", "notes.txt. inside"),
        ("other.h5", "another model"),
    ):
        with pytest.raises(ModelError, match=words):
            build_model("cnn", (32, 32, 3), 2, str(tmp_path / name))


def test_weights_that_cannot_be_fetched_say_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise Exception("URL fetch failure on https://example.org/models/mobilenet_v2_1.0_no_top.h5: None -- refused")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    with pytest.raises(ModelError, match=r"Put the file at .*models/mobilenet_v2_1.0_no_top.h5"):
        build_model("MobileNetV2", (96, 96, 3), 2, "imagenet")
    for name in ("cnn", "SqueezeNet"):
        with pytest.raises(ModelError, match=f"no ImageNet weights for {name}"):
            build_model(name, (96, 96, 3), 2, "imagenet")


def test_a_preset_without_kerashub_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"needs KerasHub .*pip install 'imgstream\[hub\]'"):
        model_info("hub:dinov2_small")
