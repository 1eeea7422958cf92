"""Augmentation: what happens to a sample between the file and the batch, drawn from the sample's own key.

presets.py         light, standard, strong: numbers → box, flip, colour matrix, rotation, erasing, mixing
tensorflow_ops.py  the same in TensorFlow, on a whole batch
policy.py          albumentations policies and plain functions (image, rng) -> image
function_file.py   what `file.py:function` names
checks.py          what is often given as an augmentation and cannot be one
loading.py         from what the user gave (name, file, object) to a Preset or Policy, and to JSON for the run folder and back
"""

from __future__ import annotations

from imgstream.augment.loading import from_json, resolve, to_json
from imgstream.augment.policy import Policy
from imgstream.augment.presets import PRESETS, Mix, Preset

Augmentation = Preset | Policy

__all__ = ["PRESETS", "Augmentation", "Mix", "Policy", "Preset", "from_json", "resolve", "to_json"]
