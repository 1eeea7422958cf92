"""The models: imgstream's own small `cnn`, SqueezeNet, those of keras.applications by name, any Keras model by its file. They give logits.

cnn.py, squeezenet.py  models of our own
build.py               builds a model by name or file, with or without weights
hub.py                 backbones of KerasHub, by preset
features.py            a model without its head
forward.py             a model's output, batch by batch, by one compiled program that takes pixels
scaling.py             pixels as the samples of a spec, where the model computes
weights.py             loads weights from files into a model
model_files.py         opens files of models and weights; no other code does
allowed_layers.py      the layers and functions that such a file may name
architecture_names.py  recognises a model by the names of its layers
"""

from __future__ import annotations

from imgstream.models.build import MODEL_NAMES, ModelInfo, build_model, model_info
from imgstream.models.features import features, head
from imgstream.models.weights import infer_model

__all__ = ["MODEL_NAMES", "ModelInfo", "build_model", "features", "head", "infer_model", "model_info"]
