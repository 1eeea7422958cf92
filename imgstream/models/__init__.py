"""The networks: imgstream's own small `cnn`, SqueezeNet, those of keras.applications by name, any Keras model by its file. They give
logits.

cnn.py, squeezenet.py  networks of our own
build.py               a network by name or file, with or without weights
features.py            a network without its head
forward.py             a network's logits, batch by batch, in one compiled graph
weights.py             weights of files, into a network
model_files.py         opening files of models and weights: the one way in
allowed_layers.py      what such a file may name
architecture_names.py  which network it is, by the names of its layers
"""

from __future__ import annotations

from imgstream.models.build import MODEL_NAMES, ModelInfo, build_model, model_info
from imgstream.models.features import features, head
from imgstream.models.weights import infer_model

__all__ = ["MODEL_NAMES", "ModelInfo", "build_model", "features", "head", "infer_model", "model_info"]
