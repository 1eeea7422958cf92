"""Transforms of torchvision and kornia as an augmentation, where torch is installed.

They draw from torch's global generator. Around each sample it is seeded from the sample's own numbers and put back afterwards, under a
lock: one thread of a process transforms at a time. torchvision gets a uint8 tensor (C, H, W), and gives one; kornia a float one
(1, C, H, W), 0 to 1.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from imgstream.augment.policy import Policy
from imgstream.errors import AugmentError

_generator = threading.Lock()


def of_torch(value: Any) -> Policy | None:
    """The policy of a torch.nn.Module, a transform of torchvision, or a list of them; None for anything else. Raises AugmentError."""
    torch = sys.modules.get("torch")  # if it is not imported, the value cannot be one of its objects
    if torch is None or not hasattr(torch, "nn"):
        return None
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or not all(isinstance(part, torch.nn.Module) or _is_of(part, "torchvision") for part in parts):
        return None
    return TorchModules(list(parts))


class TorchModules(Policy):
    """A chain of torch transforms as an augmentation."""

    def __init__(self, modules: list[Any]) -> None:
        """Raises AugmentError for a transform whose random numbers are not torch's."""
        super().__init__(", ".join(type(module).__name__ for module in modules))
        self.modules = modules
        image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
        try:
            one, two = (self._transform(image, np.random.default_rng(1)) for _ in range(2))
        except Exception:  # not made for such an image; apply says what is wrong with real ones
            return
        if not np.array_equal(one, two):
            raise AugmentError(
                f"augmentation {self.name} gives another image each time for the same seed: it draws its random numbers elsewhere than "
                "from torch. Write a function, def augment(image, rng), that draws them from rng"
            )

    def to_json(self) -> dict[str, Any]:
        """What a run folder keeps: what they are called, as torch's modules have no description that can be read without running code."""
        return {"kind": "torch", "name": self.name, "source": repr(self.modules)}

    def _transform(self, image: np.ndarray, rng: np.random.Generator) -> Any:
        torch: Any = sys.modules["torch"]  # the modules are its objects
        with _generator, torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.random.default_generator.manual_seed(int(rng.integers(2**63)))
            tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
            for module in self.modules:
                tensor = _kornia(module, tensor) if _is_of(module, "kornia") else module(tensor)
            if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
                return tensor
            return np.ascontiguousarray(tensor.numpy().transpose(1, 2, 0))


def _kornia(module: Any, tensor: Any) -> Any:
    torch: Any = sys.modules["torch"]
    if tensor.dtype != torch.uint8:
        return module(tensor[None])[0]
    result = module(tensor[None].to(torch.float32) / 255)[0]
    return (255 * result).round().clamp(0, 255).to(torch.uint8)


def _is_of(value: Any, package: str) -> bool:
    return callable(value) and type(value).__module__.partition(".")[0] == package
