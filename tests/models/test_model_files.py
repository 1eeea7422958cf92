"""Files of models from somebody else: whatever they name, nothing of it is run, and no other file is read for them."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from imgstream.errors import ModelError
from imgstream.models import build_model, infer_model, model_info
from imgstream.models.allowed_layers import CLASSES, FUNCTIONS, check_config
from imgstream.models.model_files import load_whole, read_config

MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]


pytestmark = pytest.mark.usefixtures("small_cnn")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2")(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """What hostile code would make."""
    return tmp_path / "ran"


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "a.keras"
    model.save(path)
    return path


@pytest.fixture
def archive(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(saved, tmp_path))


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def with_config(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    members = parts(path)
    config = json.loads(members["config.json"])
    change(config)
    write(path, {**members, "config.json": json.dumps(config).encode()})
    return path


def refused(path: Path, words: str) -> None:
    """By every way in that takes a whole model."""
    for open_it in (read_config, load_whole):
        with pytest.raises(ModelError, match=words):
            open_it(path)
    with pytest.raises(ModelError, match=words):
        model_info(str(path))
    with pytest.raises(ModelError, match=words):
        build_model(str(path), (8, 8, 3), 2)
    if path.suffix == ".keras":
        with pytest.raises(ModelError, match=words):
            build_model("cnn", (32, 32, 3), 2, str(path))
    assert infer_model(str(path)) is None


# ---- what is named


def saved_model_that_writes(folder: Path, ran: Path) -> Path:
    """A TensorFlow SavedModel whose graph writes a file whenever it is called."""
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])
        def serve(self, x: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(ran), "ran")]):
                return tf.identity(x)

    module = Writes()
    tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
    return folder


def test_a_layer_that_runs_a_saved_model_is_refused_and_keras_itself_would_run_it(archive: Path, ran: Path, tmp_path: Path) -> None:
    folder = saved_model_that_writes(tmp_path / "saved", ran)
    layer = layers.TFSMLayer(str(folder), call_endpoint="serve")
    layer(np.zeros((1, 8, 8, 3), np.float32))
    assert ran.exists()  # so that the test can fail
    ran.unlink()

    def insert(config: dict[str, Any]) -> None:
        config["config"]["layers"][1].update(
            {"module": "keras.layers", "class_name": "TFSMLayer", "registered_name": None, "build_config": {}},
            config={"name": "conv2d", "filepath": str(folder), "call_endpoint": "serve", "call_training_endpoint": None},
        )

    refused(with_config(archive, insert), "TFSMLayer")
    assert not ran.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_python_code_in_a_layer_is_refused(tmp_path: Path, ran: Path, suffix: str) -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda x, target=str(ran): __import__("pathlib").Path(target).touch() or x)(inputs)
    ran.unlink()  # it ran while the model was built
    path = tmp_path / f"a{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras: that .h5 is an old format
        keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x))).save(path)
    refused(path, "Lambda")
    assert not ran.exists()


FIRST, INNER = ("config", "layers", 1), ("config", "layers", 1, "config")
OWN = {"module": "keras.layers", "class_name": "Conv2D", "registered_name": None}
FUNCTION = {"class_name": "function", "module": "builtins", "registered_name": "function"}
HOSTILE: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "a function of os": (INNER, {"activation": {**FUNCTION, "module": "os", "config": "system"}}, r"os\.system"),
    "a function of builtins": (INNER, {"activation": {**FUNCTION, "config": "eval"}}, "eval"),
    "a function that Keras imported": (INNER, {"activation": {**FUNCTION, "module": "keras.src.utils.file_utils", "config": "os"}}, "os"),
    "a function of Keras that loads": (INNER, {"activation": {**FUNCTION, "module": "keras.models", "config": "load_model"}}, "load_model"),
    "one that ends the second lock": (
        INNER,
        {"activation": {**FUNCTION, "module": "keras.config", "config": "enable_unsafe_deserialization"}},
        "enable_unsafe_deserialization",
    ),
    "a marshalled function": (INNER, {"activation": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}, "__lambda__"),
    "a class of another module": (FIRST, {"module": "subprocess", "class_name": "Popen"}, r"subprocess\.Popen"),
    "a class that is registered": (FIRST, {"registered_name": "imgstream>FusedBatchNormalization"}, "FusedBatchNormalization"),
    "a type of TensorFlow": (
        INNER,
        {"bias_constraint": {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": []}},
        "typespec",
    ),
    "a layer that reads a file": (FIRST, {"class_name": "StringLookup"}, "StringLookup"),
    "a layer of PyTorch": (FIRST, {"class_name": "TorchModuleWrapper"}, "TorchModuleWrapper"),
    "a layer of Flax": (FIRST, {"class_name": "FlaxLayer"}, "FlaxLayer"),
    "a layer of JAX": (FIRST, {"class_name": "JaxLayer"}, "JaxLayer"),
    "a layer that nobody knows": (FIRST, {"class_name": "Conv2DOfTomorrow"}, "Conv2DOfTomorrow"),
    "a class without a name": (FIRST, {"class_name": ["Conv2D"]}, "Conv2D"),
    "an initializer": (INNER, {"kernel_initializer": {"module": "os", "class_name": "Zeros", "config": {}}}, r"os\.Zeros"),
    "a dtype": (INNER, {"dtype": {"module": "os", "class_name": "DTypePolicy", "config": {"name": "float32"}}}, r"os\.DTypePolicy"),
    "a layer in a layer": (
        FIRST,
        {"class_name": "TimeDistributed", "config": {"layer": {**OWN, "class_name": "Lambda", "config": {}}}},
        "Lambda",
    ),
    "a layer in a model": (
        FIRST,
        {"class_name": "Sequential", "module": "keras", "config": {"layers": [{**OWN, "class_name": "TFSMLayer", "config": {}}]}},
        "TFSMLayer",
    ),
    "a loss": ((), {"compile_config": {"loss": {**FUNCTION, "module": "os", "config": "system"}}}, r"os\.system"),
    "a part of no layer": (FIRST, {"build_config": {"more": [{"class_name": "Lambda", "config": {}}]}}, "Lambda"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_config_that_names_anything_but_keras_own_is_refused(archive: Path, name: str) -> None:
    at, change, words = HOSTILE[name]

    def hostile(config: Any) -> None:
        for step in at:
            config = config[step]
        config.update(change)

    refused(with_config(archive, hostile), words)


def test_a_config_that_is_nested_without_end_is_an_error_of_ours(archive: Path) -> None:
    write(archive, {**parts(archive), "config.json": b'{"class_name": "Functional", "config": {"a": ' + b"[" * 100_000})
    refused(archive, "cannot be read")


# ---- what is allowed


def test_no_name_that_is_allowed_carries_code_takes_functions_or_reads_files() -> None:
    assert not {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "StringLookup", "TextVectorization"} & CLASSES
    assert not {"Map", "Scan", "Cond", "WhileLoop", "VectorizedMap"} & CLASSES
    assert not {"deserialize", "get", "load_model", "enable_unsafe_deserialization", "eval", "system"} & FUNCTIONS


def test_models_of_keras_own_layers_functions_and_operations_are_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    x = keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 127.5, offset=-1)])(inputs)
    x = layers.Conv2D(4, 3, activation=keras.activations.gelu, kernel_initializer=keras.initializers.HeNormal(), dtype="mixed_bfloat16")(x)
    x = layers.BatchNormalization(gamma_regularizer=keras.regularizers.L2(1e-4), beta_constraint=keras.constraints.MaxNorm(2))(x)
    x = keras.ops.reshape(keras.ops.relu(x) / 6 + keras.ops.mean(x, axis=-1, keepdims=True), (-1, 14 * 14, 4))[:, ::2]
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Bidirectional(layers.LSTM(3))(layers.TimeDistributed(layers.Dense(3))(x))
    source = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    source.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 10)), "categorical_crossentropy", ["accuracy"])
    source.save(tmp_path / "a.keras")
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(load_whole(tmp_path / "a.keras")(images, training=False), source(images, training=False))


@pytest.mark.quick("MobileNetV3Small")
@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetB0", "MobileNetV3Small"])
def test_the_networks_of_keras_applications_are_allowed(name: str) -> None:
    network = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    check_config(json.loads(network.to_json()), name)


# ---- the archive


def test_an_archive_of_other_files_than_a_models_is_refused(archive: Path, tmp_path: Path) -> None:
    members = parts(archive)
    for name in ("../outside.txt", "/outside.txt", "assets/vocabulary.txt", "model.weights.npz", "more/"):
        write(archive, {**members, name: b"x"})
        refused(archive, "alone")
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_member_twice_a_link_and_a_size_that_cannot_be_are_refused(archive: Path) -> None:
    members = parts(archive)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(archive, "a") as file:
        file.writestr("config.json", members["config.json"])
    refused(archive, "config.json twice")
    link = zipfile.ZipInfo("model.weights.h5")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("config.json", "metadata.json"):
            file.writestr(name, members[name])
        file.writestr(link, "/etc/passwd")
    refused(archive, "is a link")
    for name in ("config.json", "model.weights.h5"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for other in MEMBERS:
                file.writestr(other, members[other] if other != name else bytes(101 << 20))
        refused(archive, f"{name} declares 101 MB")


# ---- the weights


def into_archive(archive: Path, change: Callable[[h5py.File], None]) -> None:
    members = parts(archive)
    weights = archive.with_name("weights.h5")
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file)
    write(archive, {**members, "model.weights.h5": weights.read_bytes()})


KERNEL = "layers/conv2d/vars/0"


def external_link(file: h5py.File) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("other.h5", "/kernel")


def external_group(file: h5py.File) -> None:
    file["layers/more"] = h5py.ExternalLink("other.h5", "/")


def soft_link(file: h5py.File) -> None:
    file["layers/more"] = h5py.SoftLink("/layers")


def external_storage(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 3, 2), "f4", external=[("/etc/passwd", 0, 216)])


def virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 3, 3, 2), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "kernel", (3, 3, 3, 2))
    file.create_virtual_dataset(KERNEL, layout)


def words(file: h5py.File) -> None:
    file.create_dataset("layers/more", (2,), h5py.string_dtype())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (external_link, "conv2d/vars/0 is a link"),
        (external_group, "layers/more is a link"),
        (soft_link, "layers/more is a link"),
        (external_storage, "lies in another file"),
        (virtual, "lies in another file"),
        (words, "no numbers"),
    ],
)
def test_weights_that_lie_elsewhere_are_not_read(archive: Path, change: Callable[[h5py.File], None], said: str) -> None:
    with h5py.File(archive.with_name("other.h5"), "w") as file:
        file["kernel"] = np.ones((3, 3, 3, 2), np.float32)
    into_archive(archive, change)
    with pytest.raises(ModelError, match=said):
        load_whole(archive)
    with pytest.raises(ModelError, match=said):
        build_model("cnn", (32, 32, 3), 2, str(archive))


def test_a_file_of_weights_alone_that_leads_to_another_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = ["fire9_expand3x3"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink("other.h5", "/")
    assert infer_model(str(tmp_path / "a.h5")) is None
    with pytest.raises(ModelError, match="model_weights is a link"):
        build_model("cnn", (32, 32, 3), 2, str(tmp_path / "a.h5"))


def test_a_bit_that_turned_in_the_weights_is_told(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.index(b"\x89HDF") + 3000] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ModelError, match="CRC"):
        load_whole(archive)
