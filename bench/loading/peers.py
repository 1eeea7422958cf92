"""One loader that imgstream is compared with, measured in this process: a child of bench/loaders.py, run by .venv-peers (peers.txt).

    .venv-peers/bin/python bench/loading/peers.py NAME DIR SIZE WORKERS COLD

A function below prepares a loader of DIR/CLASS/*.jpg and returns one pass over it (see passes.py). Its docstring goes under the table.
Each is written as its own documentation has it, with the fastest of the settings that were tried.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import cv2
import numpy as np
from passes import BATCH, Pass, count, jpegs, report


def _read(path: str, size: int) -> np.ndarray:
    """uint8 (size, size, 3)."""
    image = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return cv2.resize(image, (size, size))


def grain(directory: str, size: int, workers: int) -> Pass:
    """google/grain with OpenCV: MapDataset shuffled and mapped in threads, one each worker; OpenCV's default, the accurate DCT."""
    import grain

    cv2.setNumThreads(0)

    def load(row: int) -> tuple[np.ndarray, int]:
        return np.multiply(_read(files[row], size), np.float32(1 / 255)), labels[row]

    files, labels = jpegs(directory)
    threads = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * BATCH)
    rows = grain.MapDataset.range(len(files))
    return lambda number: count(rows.shuffle(seed=number).map(load).to_iter_dataset(threads).batch(BATCH))


class Photographs:
    """A map-style dataset for PyTorch: uint8 pixels, which the main process scales; float32 from the workers is slower."""

    def __init__(self, directory: str, size: int) -> None:
        self.files, self.labels = jpegs(directory)
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return _read(self.files[row], self.size), self.labels[row]


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)


def torch(directory: str, size: int, workers: int) -> Pass:
    """PyTorch's DataLoader with OpenCV: persistent worker processes, whose uint8 batches the main process makes float32; accurate DCT."""
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        Photographs(directory, size),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        worker_init_fn=_one_thread,
    )
    return lambda _: count((images.float().div_(255), labels) for images, labels in loader)


def dali(directory: str, size: int, workers: int) -> Pass:
    """NVIDIA DALI on the CPU, one thread each worker: fn.readers.file, fn.decoders.image with the fast DCT, fn.resize,
    fn.crop_mirror_normalize. It reads on from one pass into the next.
    """
    from nvidia.dali import fn, pipeline_def, types

    files, labels = jpegs(directory)

    @pipeline_def
    def pipeline() -> Any:
        data, label = fn.readers.file(files=files, labels=labels, random_shuffle=True)
        image = fn.decoders.image(data, device="cpu", output_type=types.RGB, use_fast_idct=True)
        image = fn.resize(image, resize_x=size, resize_y=size, interp_type=types.INTERP_LINEAR, antialias=False)
        return fn.crop_mirror_normalize(image, dtype=types.FLOAT, output_layout="HWC", mean=[0.0] * 3, std=[255.0] * 3), label

    pipe = pipeline(batch_size=BATCH, num_threads=workers, device_id=None)
    pipe.build()
    return lambda _: count(pipe.run() for _ in range(math.ceil(len(files) / BATCH)))


PEERS = {
    "grain": (grain, ("grain", "opencv-python-headless", "numpy")),
    "torch": (torch, ("torch", "opencv-python-headless", "numpy")),
    "DALI": (dali, ("nvidia-dali-cuda120",)),
}


if __name__ == "__main__":
    name, directory, size, workers, cold = sys.argv[1:]
    loader, packages = PEERS[name]
    report(lambda: loader(directory, int(size), int(workers)), loader.__doc__, packages, cold)
