"""The networks: imgstream's own small `cnn`, SqueezeNet, those of keras.applications by name, any Keras model by its file. They give
logits.
"""

from __future__ import annotations

from imgstream.models.build import MODEL_NAMES, ModelInfo, build_model, model_info
from imgstream.models.features import features, head
from imgstream.models.weights import infer_model

__all__ = ["MODEL_NAMES", "ModelInfo", "build_model", "features", "head", "infer_model", "model_info"]
