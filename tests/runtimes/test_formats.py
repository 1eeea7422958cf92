from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from imgstream.errors import ModelError
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed, need
from imgstream.runtimes.runtime import chunk_for
from imgstream.runtimes.saved_operations import check_operations, functions_of

every_format = pytest.mark.parametrize("name", FORMATS)


def written(name: str, folder: Path, precision: Any = "float32") -> tuple[keras.Model, Path]:
    """A small network of one hidden layer, and the file that it is in."""
    if not is_installed(FORMATS[name].modules):
        pytest.skip(f"needs pip install 'imgstream[{FORMATS[name].extra}]'")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Dense(128, activation="relu")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x))
    path = folder / f"model{FORMATS[name].ending}"
    FORMATS[name].write(model, path, precision)
    return model, path


@pytest.mark.quick("savedmodel")
@every_format
def test_a_file_gives_what_its_model_gives_however_many_images_there_are(name: str, tmp_path: Path) -> None:
    model, path = written(name, tmp_path)
    runtime = FORMATS[name].open(path, chunk=4, threads=2)
    assert (runtime.shape, runtime.dtype, runtime.class_count) == ((8, 8, 3), np.float32, 2)
    images = np.random.default_rng(0).uniform(0, 1, (11, 8, 8, 3)).astype(np.float32)
    expected = model.predict_on_batch(images)
    for count in (0, 1, 4, 11):
        np.testing.assert_allclose(runtime(images[:count]), expected[:count], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(runtime(images[::-1]), expected[::-1], rtol=1e-4, atol=1e-6)  # not contiguous


@pytest.mark.quick("savedmodel")
@every_format
def test_texts_lie_inside_whatever_they_hold(name: str, tmp_path: Path) -> None:
    _, path = written(name, tmp_path)
    texts = {"imgstream.json": '{"a": "<b>&\\"é\\n\u2028"}', "labels.txt": "one\ntwo\n"}
    FORMATS[name].describe(path, texts)
    assert {key: FORMATS[name].open(path).metadata[key] for key in texts} == texts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_float16_has_half_the_size_and_nearly_the_same_results(name: str, tmp_path: Path) -> None:
    for folder in ("whole", "half"):
        (tmp_path / folder).mkdir()
    model, whole = written(name, tmp_path / "whole")
    _, half = written(name, tmp_path / "half", "float16")
    assert FORMATS[name].files(half)[-1].stat().st_size < 0.55 * FORMATS[name].files(whole)[-1].stat().st_size
    images = np.random.default_rng(0).uniform(0, 1, (5, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(FORMATS[name].open(half)(images), model.predict_on_batch(images), atol=5e-3)


@pytest.mark.slow
@every_format
def test_a_model_that_is_no_classifier_of_images_is_refused(name: str, tmp_path: Path) -> None:
    if not is_installed(FORMATS[name].modules):
        pytest.skip("not installed")
    text = keras.Input((16,), name="image")
    path = tmp_path / f"text{FORMATS[name].ending}"
    FORMATS[name].write(keras.Model(text, keras.layers.Dense(2)(text)), path, "float32")
    with pytest.raises(ModelError, match="images are"):
        FORMATS[name].open(path)


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    assert not is_installed(["numpy", "not_there_at_all"])
    with pytest.raises(ModelError, match=r"needs not_there_at_all.*pip install 'imgstream\[onnx\]'"):
        need("not_there_at_all.part", "onnx")


def test_chunks_keep_every_thread_busy_and_are_never_empty() -> None:
    assert [chunk_for(batch, threads) for batch, threads in ((128, 2), (32, 2), (128, 16), (1, 8), (4096, 2))] == [32, 8, 4, 1, 32]


def test_a_graph_that_could_save_files_when_it_is_called_is_refused(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    _, path = written("savedmodel", tmp_path)
    file = path / "saved_model.pb"
    check_operations(file)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(file.read_bytes())
    functions = functions_of(saved.meta_graphs[0])
    saver = next(each for each in functions if each.signature.name.startswith("__inference__traced_save"))
    victim = next(each for each in functions if each is not saver)
    victim.node_def[0].attr["f"].func.name = saver.signature.name
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(ModelError, match="writes or reads files"):
        check_operations(file)
    victim.node_def[0].attr["f"].func.name = ""
    victim.node_def[0].op = "PyFunc"
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(ModelError, match="operation PyFunc"):
        check_operations(file)
