"""Backbones of KerasHub from presets of random weights, saved and loaded: nothing is fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.errors import ModelError
from imgstream.models import build_model, features, model_info

keras = pytest.importorskip("keras")
hub = pytest.importorskip("keras_hub", reason="the extra [hub]")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")]

TOWER = {"patch_size": 8, "hidden_dim": 16, "num_layers": 1, "num_heads": 2, "intermediate_dim": 32}
SCALE, OFFSET = [0.01, 0.02, 0.03], [-1.0, 0.5, 0.25]


def resnet() -> Any:
    sizes = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3], "stackwise_num_filters": [64, 64], "stackwise_num_blocks": [1, 1]}
    return hub.models.ResNetBackbone(**sizes, stackwise_num_strides=[1, 2], block_type="basic_block")


def vit() -> Any:
    return hub.models.ViTBackbone(image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32)


def dinov2() -> Any:
    return hub.models.DINOV2Backbone(**TOWER, image_shape=(16, 16, 3), position_embedding_shape=(16, 16, 3))


def dinov3() -> Any:
    return hub.models.DINOV3Backbone(**TOWER, image_shape=(16, 16, 3))


def swin() -> Any:
    return hub.models.SwinTransformerBackbone(image_shape=(16, 16, 3), embed_dim=8, depths=[1], num_heads=[1], window_size=2)


def siglip() -> Any:
    from keras_hub.src.models.siglip.siglip_text_encoder import SigLIPTextEncoder
    from keras_hub.src.models.siglip.siglip_vision_encoder import SigLIPVisionEncoder

    words = {"vocabulary_size": 9, "embedding_dim": 16, "max_sequence_length": 4}
    text = SigLIPTextEncoder(**words, **{name: value for name, value in TOWER.items() if name != "patch_size"})
    return hub.models.SigLIPBackbone(SigLIPVisionEncoder(**TOWER, image_shape=(16, 16, 3)), text)


MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "resnet": (resnet, "ResNetImageConverter"),
    "vit": (vit, "ViTImageConverter"),
    "dinov2": (dinov2, "DINOV2ImageConverter"),
    "dinov3": (dinov3, "DINOV3ImageConverter"),
    "swin": (swin, "SwinTransformerImageConverter"),
    "siglip": (siglip, "SigLIPImageConverter"),
}


def saved(folder: Path, kind: str) -> Any:
    """A preset in `folder`; returns its backbone."""
    make, converter = MADE[kind]
    backbone = make()
    rng = np.random.default_rng(3)
    backbone.set_weights([rng.normal(0, 0.1, w.shape) ** (2 if "variance" in w.path else 1) for w in backbone.weights])
    backbone.save_to_preset(str(folder))
    getattr(hub.layers, converter)(image_size=(16, 16), scale=SCALE, offset=OFFSET).save_to_preset(str(folder))
    return backbone


@pytest.mark.parametrize("kind", MADE)
def test_a_preset_gives_the_features_of_its_backbone_of_pixels_as_its_converter_scales_them(tmp_path: Path, kind: str) -> None:
    backbone = saved(tmp_path / "preset", kind)
    info = model_info(str(tmp_path / "preset"))
    assert (info.size, info.scale, info.channels, info.is_saved) == ((16, 16), "raw", 3, True)
    model = build_model(str(tmp_path / "preset"), (16, 16, 3), 5)
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    scaled = (images * SCALE + OFFSET).astype(np.float32)
    if kind == "siglip":
        expected = backbone.vision_encoder({"images": scaled})
    else:
        inputs = {"dinov2": {"images": scaled}, "dinov3": {"pixel_values": scaled}}.get(kind, scaled)
        expected = backbone(inputs)
    pooled = {"resnet": lambda x: x.mean(axis=(1, 2)), "swin": lambda x: x.mean(axis=1), "siglip": lambda x: x}.get(kind, lambda x: x[:, 0])
    np.testing.assert_allclose(features(model).predict(images, verbose=0), pooled(np.asarray(expected)), rtol=1e-3, atol=1e-4)
    assert model.output_shape == (None, 5)


def test_a_run_from_a_preset_is_whole_without_it(two_classes: Path, tmp_path: Path) -> None:
    saved(tmp_path / "preset", "vit")
    options: dict[str, Any] = {"model": str(tmp_path / "preset"), "batch_size": 8, "augment": "none", "precision": "float32"}
    ims.train(two_classes, out=tmp_path / "run", epochs=1, **options)
    again = ims.train(two_classes, out=tmp_path / "run", epochs=1, resume=True, **options)
    with pytest.raises(SystemExit) as ended:
        main(["embed", str(tmp_path / "preset"), str(two_classes), "-o", str(tmp_path / "features.parquet")])
    assert ended.value.code == 0
    shutil.rmtree(tmp_path / "preset")
    run = ims.load_run(tmp_path / "run")
    assert run.spec == ims.SampleSpec(size=(16, 16), scale="raw")
    assert run.metrics == again.metrics
    assert [p.error for p in run.predict(two_classes)] == [None] * 40
    head = ims.train(two_classes, out=tmp_path / "head", model=str(tmp_path / "run"), head_only=True, batch_size=8)
    assert head.spec == run.spec


def test_presets_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    saved(tmp_path / "vit", "vit")
    with pytest.raises(ModelError, match=r"takes images of 16x16 only, not 32x32: train with that --size"):
        build_model(str(tmp_path / "vit"), (32, 32, 3), 2)
    with pytest.raises(ModelError, match="--channels 3"):
        build_model(str(tmp_path / "vit"), (16, 16, 1), 2)
    (tmp_path / "vit" / "image_converter.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor\.json.*save_to_preset"):
        model_info(str(tmp_path / "vit"))
    (tmp_path / "vit" / "preprocessor.json").write_text('{"class_name": "Other", "config": {}}')
    with pytest.raises(ModelError, match="has no image converter"):
        model_info(f"hub:{tmp_path / 'vit'}")


def test_a_preset_cannot_name_other_code_or_other_files(tmp_path: Path) -> None:
    saved(tmp_path / "vit", "vit")
    config = json.loads((tmp_path / "vit" / "config.json").read_text())
    for change in ({"class_name": "GemmaBackbone"}, {"module": "os"}, {"registered_name": "os>system"}):
        (tmp_path / "vit" / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match="custom object"):
            build_model(str(tmp_path / "vit"), (16, 16, 3), 2)
    (tmp_path / "vit" / "config.json").write_text(json.dumps(config))
    with h5py.File(tmp_path / "vit" / "model.weights.h5", "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(ModelError, match="link to another place or file"):
        build_model(str(tmp_path / "vit"), (16, 16, 3), 2)
