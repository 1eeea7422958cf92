"""Augmentation: changes a sample's uint8 pixels between the file and the batch, by random numbers of its own.

presets.py         light, standard, strong: numbers → box, flip, colour matrix, rotation, erasing, mixing
operation_presets.py randaugment, trivialaugment and sub-policies of a file
operations.py      their operations, with OpenCV
tensorflow_ops.py  the presets in TensorFlow, on a whole batch
policy.py          albumentations policies and functions (image, rng) -> image
keras_layers.py    Keras layers, with random numbers by the sample's key; or on whole batches, by the step's
keras_files.py     finds them in lists, models and files, and puts them into JSON
torch_modules.py   transforms of torchvision and kornia
aug_mix.py         the random numbers of Keras' AugMix
function_file.py   loads `file.py:function`
checks.py          refuses what is often given as an augmentation and cannot be one
loading.py         from what the user gives (name, file, object) to a Preset or Policy, and to JSON and back
"""

from __future__ import annotations

from imgstream.augment.loading import from_json, resolve, to_json
from imgstream.augment.operation_presets import OperationPreset
from imgstream.augment.policy import Policy
from imgstream.augment.presets import PRESETS, Mix, Preset

Augmentation = Preset | Policy

__all__ = ["PRESETS", "Augmentation", "Mix", "OperationPreset", "Policy", "Preset", "from_json", "resolve", "to_json"]
