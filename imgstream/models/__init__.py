"""The networks: imgstream's own small `cnn`, and every one of keras.applications by name. Models give logits."""

from __future__ import annotations

from imgstream.models.build import MODEL_NAMES, ModelInfo, build_model, model_info

__all__ = ["MODEL_NAMES", "ModelInfo", "build_model", "model_info"]
