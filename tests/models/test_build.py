from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from imgstream.errors import ModelError
from imgstream.models import MODEL_NAMES, build_model, model_info


def test_cnn_gives_logits_of_the_classes_for_any_size_and_either_number_of_channels() -> None:
    for shape in ((32, 48, 3), (96, 96, 1)):
        model = build_model("cnn", shape, 5)
        logits = model(np.zeros((2, *shape), np.float32), training=False)
        assert tuple(logits.shape) == (2, 5)
        assert model.layers[-1].get_config()["activation"] == "linear"


def test_every_name_is_a_network_of_keras_applications_and_is_found_in_any_case() -> None:
    for name in MODEL_NAMES[1:]:
        assert hasattr(keras.applications, name)
        assert model_info(name.upper()).name == name


def test_an_application_has_a_linear_head_of_its_own() -> None:
    model = build_model("mobilenetv3small", (32, 32, 3), 7)
    assert model.output_shape == (None, 7)


def test_a_model_of_other_classes_gives_its_body(tmp_path: Path) -> None:
    source = build_model("cnn", (32, 32, 3), 10)
    source.save(tmp_path / "ten.keras")
    model = build_model("cnn", (32, 32, 3), 2, str(tmp_path / "ten.keras"))
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], source.layers[1].get_weights()[0])
    assert model.get_layer("logits").get_weights()[0].shape == (256, 2)


def test_wrong_weights_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "pointer.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    (tmp_path / "html.keras").write_text("<html>")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    (tmp_path / "w.bin").write_bytes(b"")
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
        ("other.h5", "another network"),
    ):
        with pytest.raises(ModelError, match=words):
            build_model("cnn", (32, 32, 3), 2, str(tmp_path / name))


def test_weights_that_cannot_be_fetched_say_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise Exception("URL fetch failure on https://example.org/models/mobilenet_v2_1.0_no_top.h5: None -- refused")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    with pytest.raises(ModelError, match=r"Put the file at .*models/mobilenet_v2_1.0_no_top.h5"):
        build_model("MobileNetV2", (96, 96, 3), 2, "imagenet")
    with pytest.raises(ModelError, match="no ImageNet weights for cnn"):
        build_model("cnn", (96, 96, 3), 2, "imagenet")
