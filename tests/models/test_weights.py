"""Whole models and weights from files: what is taken, how a file's network and scale are known, and what is refused."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from imgstream.errors import ModelError
from imgstream.models import build_model, features, infer_model, model_info
from imgstream.spec import SampleSpec

WEIGHTS = Path(__file__).resolve().parents[2] / "../shared/data/weights"
SQUEEZENET = WEIGHTS / "squeezenet_1.1_imagenet_notop.h5"
RESNET8 = WEIGHTS / "mlcommons_cifar10_resnet8.h5"
needs_weights = pytest.mark.skipif(not SQUEEZENET.is_file() or not RESNET8.is_file(), reason="the shared weights are not here")


def network(*first: Any, name: str = "mine", size: int | None = 16, channels: int = 3) -> keras.Model:
    """A small network that ends in a softmax of 4 classes."""
    inputs = x = keras.Input((size, size, channels))
    for layer in (*first, layers.Conv2D(5, 3), layers.BatchNormalization(), layers.GlobalMaxPooling2D()):
        x = layer(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x), name=name)


def saved(model: keras.Model, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras: that .h5 is an old format, and that a subclassed or lambda layer is not portable
        model.save(path)
    return str(path)


def old_layout(model: keras.Model, path: Path, more: dict[str, list[np.ndarray]] | None = None) -> str:
    """Weights as Keras 2 wrote them, and after them `more` layers."""
    parts = {layer.name: layer.get_weights() for layer in model.layers} | (more or {})
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in parts]
        for name, arrays in parts.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/w{i}:0".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group[f"{name}/w{i}:0"] = array
    return str(path)


def body(model: Any) -> list[np.ndarray]:
    return model.get_weights()[:-2]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5"])
def test_a_saved_models_body_gets_a_new_head(tmp_path: Path, file: str) -> None:
    source = network()
    source.layers[1].trainable = False
    model = build_model(saved(source, tmp_path / file), (16, 16, 3), 2)
    images = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    np.testing.assert_allclose(features(model)(images), features(source)(images), atol=1e-6)
    assert model.layers[-1].name == "logits"
    assert model.layers[-1].get_config()["activation"] == "linear"
    assert model.output_shape == (None, 2)
    assert len(model.trainable_variables) == 6  # nothing is frozen: kernel and bias, gamma and beta, kernel and bias


def test_a_saved_model_takes_other_sizes_where_it_can_and_says_so_where_it_cannot(tmp_path: Path) -> None:
    pooled = saved(network(), tmp_path / "pooled.keras")
    assert build_model(pooled, (24, 20, 3), 2).input_shape == (None, 24, 20, 3)
    assert build_model(pooled, (None, None, 3), 2).input_shape == (None, None, None, 3)
    flat = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3), layers.Dense(2)])
    with pytest.raises(ModelError, match=r"8x8 only, not 9x9"):
        build_model(saved(flat, tmp_path / "flat.keras"), (9, 9, 3), 2)
    with pytest.raises(ModelError, match="3 channels, not 1"):
        build_model(pooled, (16, 16, 1), 2)
    with pytest.raises(ModelError, match="no ImageNet weights"):
        build_model(pooled, (16, 16, 3), 2, "imagenet")


def test_a_run_folder_gives_its_model_and_its_spec(tmp_path: Path) -> None:
    source = network()
    saved(source, tmp_path / "model.keras")
    spec = SampleSpec(size=(16, 16), scale="caffe")
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
    info = model_info(str(tmp_path))
    assert (info.name, info.scale, info.size, info.channels) == (str(tmp_path), "caffe", (16, 16), 3)
    assert (info.any_size, info.scale_guessed, info.is_saved) == (False, False, True)
    assert infer_model(str(tmp_path)) == str(tmp_path)
    for weights in ("none", str(tmp_path), str(tmp_path / "model.keras")):
        assert equal(body(build_model(str(tmp_path), (16, 16, 3), 2, weights)), body(source))
    (tmp_path / "spec.json").write_text("[]")
    with pytest.raises(ModelError, match=r"spec\.json"):
        model_info(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "scale", "guessed"),
    [
        (lambda: network(), "unit", True),
        (lambda: network(layers.Rescaling(1 / 127.5, offset=-1)), "raw", False),
        (lambda: network(layers.RandomFlip(), layers.Resizing(16, 16), layers.Rescaling(1 / 255)), "raw", False),
        (lambda: network(keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])), "raw", False),
        (lambda: network(layers.Lambda(keras.applications.mobilenet.preprocess_input)), None, False),
        (lambda: network(keras.applications.mobilenet.preprocess_input), "raw", True),
        (lambda: network(name="mobilenetv2_1.00_224"), "signed", False),
        (lambda: network(name="resnet50"), "caffe", False),
        (lambda: network(name="resnet50", channels=1), "unit", True),
        (lambda: network(layers.Conv2D(3, 1, name="fire9_expand3x3")), "caffe", False),
        (lambda: build_model("cnn", (16, 16, 3), 2), "signed", False),
    ],
)
def test_the_scale_is_told_by_the_models_beginning_or_its_names_or_is_a_guess(
    tmp_path: Path, model: Any, scale: str | None, guessed: bool
) -> None:
    path = saved(model(), tmp_path / "a.keras")
    if scale is None:
        with pytest.raises(ModelError, match="Lambda"):
            model_info(path)
    else:
        info = model_info(path)
        assert (info.scale, info.scale_guessed, info.size) == (scale, guessed, (16, 16))


def test_an_open_size_is_224(tmp_path: Path) -> None:
    assert model_info(saved(network(size=None), tmp_path / "a.keras")).size == (224, 224)


@pytest.mark.slow
def test_weights_of_other_classes_give_the_body_in_every_layout(tmp_path: Path) -> None:
    source = build_model("cnn", (32, 32, 3), 10)
    source.save_weights(tmp_path / "new.weights.h5")
    for file in (
        saved(source, tmp_path / "a.keras"),
        saved(source, tmp_path / "a.h5"),
        str(tmp_path / "new.weights.h5"),
        old_layout(source, tmp_path / "old.h5"),
        old_layout(features(source), tmp_path / "notop.h5"),
        old_layout(source, tmp_path / "tops.h5", {"more": [np.zeros((10, 3), np.float32)]}),
    ):
        assert equal(body(build_model("cnn", (32, 32, 3), 2, file)), body(source)), file
    same = build_model("cnn", (32, 32, 3), 10, str(tmp_path / "new.weights.h5"))
    assert equal(same.get_weights(), source.get_weights())


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    grey = build_model("cnn", (32, 32, 1), 2)
    grey.save_weights(tmp_path / "grey.weights.h5")
    for file in (str(tmp_path / "grey.weights.h5"), old_layout(grey, tmp_path / "grey.h5"), saved(grey, tmp_path / "whole.h5")):
        with pytest.raises(ModelError, match="another model"):
            build_model("cnn", (32, 32, 3), 2, file)
    with pytest.raises(ModelError, match="nothing in"):
        build_model("cnn", (32, 32, 3), 2, saved(network(), tmp_path / "mine.keras"))


def test_a_hostile_h5_is_refused_before_its_arrays_are_read(tmp_path: Path) -> None:
    source = build_model("cnn", (32, 32, 3), 2)
    first = f"{source.layers[1].name}/w0:0"
    for name, words in (("huge", "many times"), ("outside", "in another file"), ("text", "no numbers"), ("link", "is a link")):
        path = tmp_path / f"{name}.h5"
        old_layout(source, path)
        with h5py.File(path, "r+") as file:
            group = file[source.layers[1].name]
            shape = group[first].shape
            del group[first]
            if name == "huge":
                group.create_dataset(first, (1 << 20, 1 << 20), "f4", chunks=(64, 64))
            elif name == "outside":
                group.create_dataset(first, shape, "f4", external=[("/dev/zero", 0, 3456)])
            elif name == "link":
                group[first] = h5py.ExternalLink("other.h5", "/k")
            else:
                group[first] = np.full(shape, b"a")
        with pytest.raises(ModelError, match=words):
            build_model("cnn", (32, 32, 3), 2, str(path))
        assert infer_model(str(path)) is None


def test_models_that_run_code_or_are_not_of_keras_own_layers_are_refused(tmp_path: Path) -> None:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    subclassed = Subclassed()
    subclassed(np.zeros((1, 3), np.float32))
    models = {
        "Lambda": network(layers.Lambda(lambda x: x * 2)),
        "custom object": network(Own()),
        "only functional and Sequential": subclassed,
        "shape of its input": keras.Sequential([layers.Dense(2)]),
    }
    for words, model in models.items():
        path = saved(model, tmp_path / "a.keras")
        with pytest.raises(ModelError, match=words):
            build_model(path, (16, 16, 3), 2)
    for words in ("Lambda", "custom object"):
        with pytest.raises(ModelError, match=words):
            build_model(saved(models[words], tmp_path / "a.h5"), (16, 16, 3), 2)


def test_a_config_that_names_other_modules_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    saved(network(), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1]["module"] = "os.path"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else data)
    with pytest.raises(ModelError, match=r"os\.path"):
        build_model(str(path), (16, 16, 3), 2)


def test_the_network_of_a_weights_file_is_known_by_its_layers_names(tmp_path: Path) -> None:
    vgg = build_model("VGG16", (32, 32, 3), 2)
    vgg.save_weights(tmp_path / "new.weights.h5")
    squeezed = build_model("SqueezeNet", (32, 32, 3), 2)
    assert infer_model(str(tmp_path / "new.weights.h5")) == "VGG16"
    assert infer_model(old_layout(squeezed, tmp_path / "old.h5")) == "SqueezeNet"
    assert infer_model(old_layout(network(), tmp_path / "unknown.h5")) is None
    for whole in (tmp_path / "a.keras", tmp_path / "a.h5"):
        assert infer_model(saved(network(), whole)) == str(whole)
    for nothing in ("none", "imagenet", str(tmp_path), str(tmp_path / "gone.h5")):
        assert infer_model(nothing) is None


@pytest.mark.parametrize("name", ["gone.keras", "gone.h5", "weights.h5"])
def test_a_path_without_a_whole_model_says_so(tmp_path: Path, name: str) -> None:
    old_layout(network(), tmp_path / "weights.h5")
    with pytest.raises(ModelError, match=r"cannot read|weights only"):
        build_model(str(tmp_path / name), (16, 16, 3), 2)


@needs_weights
def test_the_genuine_squeezenet_weights_load_as_they_are_in_the_file() -> None:
    assert infer_model(str(SQUEEZENET)) == "SqueezeNet"
    model = build_model("SqueezeNet", (64, 64, 3), 2, str(SQUEEZENET))
    with h5py.File(SQUEEZENET) as file:
        assert np.array_equal(model.get_layer("conv1").get_weights()[0], file["conv1/conv1_3/kernel:0"][()])
        assert np.array_equal(model.get_layer("fire9_expand3x3").get_weights()[1], file["fire9/expand3x3/fire9/expand3x3_1/bias:0"][()])


@needs_weights
def test_a_genuine_model_of_keras_2_is_a_backbone() -> None:
    info = model_info(str(RESNET8))
    assert (info.size, info.channels, info.scale, info.scale_guessed) == ((32, 32), 3, "unit", True)
    assert infer_model(str(RESNET8)) == str(RESNET8)
    model = build_model(str(RESNET8), (32, 32, 3), 2)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    original = keras.saving.load_model(RESNET8, compile=False)
    np.testing.assert_allclose(features(model)(images), keras.Model(original.inputs[0], original.layers[-1].input)(images), atol=1e-6)
    assert features(model).output_shape == (None, 64)
