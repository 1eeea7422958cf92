"""Augmentation: what happens to a sample between the file and the batch, drawn from the sample's own key.

presets.py   light, standard, strong: numbers → box, flip, colour matrix, rotation, erasing, mixing
policies.py  albumentations policies and plain functions (image, rng) -> image
loading.py   from what the user gave (name, file, object) to one of the two, and back to JSON for the run folder
"""

from __future__ import annotations

from imgstream.augment.loading import from_json, resolve, to_json
from imgstream.augment.policies import Policy
from imgstream.augment.presets import PRESETS, Mix, Preset

Augmentation = Preset | Policy

__all__ = ["PRESETS", "Augmentation", "Mix", "Policy", "Preset", "from_json", "resolve", "to_json"]
