"""How far training from scratch comes in a given time, with everyone's default recipe: the same images, the same wall time.

    python bench/recipes.py DIR --minutes 15 [--images 200] [--seeds 0 1 2] [--only imgstream,keras] [--peers .venv-peers/bin/python]
                            [--out PAGE]

DIR holds one folder of images a class. A fifth of each class, by a hash of the path, is kept aside; nobody sees it before the end. Each
recipe trains on the others, or as many of them as --images asks for, in a process of its own, by turns, until MINUTES of wall time are
over, the start included, and is then measured on the images kept aside. What a peer's documentation sets for many epochs is left as it is,
where the time suffices for a few.

imgstream    imgstream train DIR --minutes MINUTES (and it takes a fifth of its images for its own validation)
keras        keras.io's "Image classification from scratch": 180², small Xception, Adam 3e-4, batches of 128
torchvision  the defaults of its reference: ResNet-18, 224², SGD 0.1, batches of 32
fastai       vision_learner, ResNet-34 without weights, 224², aug_transforms, fit_one_cycle over the epochs that fit
timm         the defaults of its train script: ResNet-50, 224², SGD 0.05 per 256 images with a warm-up of 5 epochs, batches of 128
fastai_small no default, but what somebody who knows fastai would set on two cores: ResNet-18, 96², all else as above
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page import machine, put

KEPT_ASIDE = 20_261_121
"""Seed of the division: one that no recipe splits by again, since the same hash would leave it nothing to validate on."""


def divide(source: Path, target: Path, images: int | None) -> tuple[int, int]:
    """Link the images, only `images` of those to train on, into target/train and target/test; returns how many each holds."""
    import numpy as np

    import imgstream as ims

    counts = []
    train, test = ims.scan(source).split(val=0.2, seed=KEPT_ASIDE)
    if images is not None:
        train = train.take(np.sort(np.random.default_rng(KEPT_ASIDE).permutation(len(train))[:images]))
    for name, part in (("train", train), ("test", test)):
        for i in range(len(part)):
            link = target / name / os.fsdecode(part.relative_bytes(i))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.abspath(part.path(i)))
        counts.append(len(part))
    return counts[0], counts[1]


def imgstream(folder: Path, minutes: float, seed: int, started: float) -> float:
    """The command line, then evaluate."""
    run = folder / f"run-{seed}"
    command = [sys.executable, "-m", "imgstream"]
    subprocess.run(
        [*command, "train", folder / "train", "--out", run, "--minutes", str(minutes), "--seed", str(seed)], check=True, stdout=2
    )
    done = subprocess.run([*command, "evaluate", run, folder / "test", "--json"], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["accuracy"])


def keras(folder: Path, minutes: float, seed: int, started: float) -> float:
    """The tutorial's network, written anew from its description."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    options: dict[str, Any] = {"image_size": (180, 180), "batch_size": 128, "label_mode": "int"}
    train = keras.utils.image_dataset_from_directory(folder / "train", seed=seed, **options)
    test = keras.utils.image_dataset_from_directory(folder / "test", shuffle=False, **options)
    classes = len(train.class_names)
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    train = train.map(lambda images, labels: (augment(images), labels), num_parallel_calls=-1).prefetch(-1)

    inputs = keras.Input((180, 180, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(128, 3, strides=2, padding="same")(x)))
    shortcut = x
    for width in (256, 512, 728):
        for _ in range(2):
            x = layers.BatchNormalization()(layers.SeparableConv2D(width, 3, padding="same")(layers.Activation("relu")(x)))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        shortcut = layers.Conv2D(width, 1, strides=2, padding="same")(shortcut)
        x = shortcut = layers.add([x, shortcut])
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.SeparableConv2D(1024, 3, padding="same")(x)))
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(classes)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-4), loss, metrics=["accuracy"])

    class Over(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = time.time() - started > 60 * minutes

    model.fit(train, epochs=10_000, callbacks=[Over()], verbose=0)
    return float(model.evaluate(test, verbose=0, return_dict=True)["accuracy"])


def torchvision(folder: Path, minutes: float, seed: int, started: float) -> float:
    """references/classification/train.py with its defaults, which decay after 30 epochs."""
    import torch
    from torchvision import datasets, models
    from torchvision.transforms import v2

    torch.manual_seed(seed)
    last = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    train = datasets.ImageFolder(folder / "train", v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *last]))
    test = datasets.ImageFolder(folder / "test", v2.Compose([v2.Resize(256), v2.CenterCrop(224), *last]))
    model = models.resnet18(num_classes=len(train.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = torch.utils.data.DataLoader(train, batch_size=32, shuffle=True, num_workers=2, drop_last=True)
    _until_over(model, optimizer, loader, torch.nn.CrossEntropyLoss(), minutes, started)
    return _accuracy(model, torch.utils.data.DataLoader(test, batch_size=64, num_workers=2))


def timm(folder: Path, minutes: float, seed: int, started: float) -> float:
    """train.py with its defaults."""
    import timm as library
    import torch
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    torch.manual_seed(seed)
    classes = len(list((folder / "train").iterdir()))
    model = library.create_model("resnet50", num_classes=classes)
    shared: dict[str, Any] = {"input_size": (3, 224, 224), "batch_size": 128, "num_workers": 2, "use_prefetcher": False}
    train = create_loader(create_dataset("", str(folder / "train")), is_training=True, color_jitter=0.4, **shared)
    test = create_loader(create_dataset("", str(folder / "test")), is_training=False, crop_pct=0.95, **shared)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05 * 128 / 256, momentum=0.9, weight_decay=2e-5)
    schedule = CosineLRScheduler(optimizer, t_initial=300, warmup_t=5, warmup_lr_init=1e-5)
    _until_over(model, optimizer, train, torch.nn.CrossEntropyLoss(), minutes, started, schedule.step)
    return _accuracy(model, test)


def fastai(
    folder: Path, minutes: float, seed: int, started: float, *, network: str = "resnet34", presize: int = 460, size: int = 224
) -> float:
    """The library's own loop, over as many epochs as its speed in the first batches promises."""
    from fastai.vision.all import Callback, CancelFitException, ImageDataLoaders, Resize, aug_transforms, models, set_seed, vision_learner

    class Over(Callback):  # type: ignore[misc]
        """Ends the fit when the time is over, or after `batches`."""

        batches: int | None = None
        ended = 0.0
        """When the first batch did, which waits for the loader's processes to start."""

        def after_batch(self) -> None:
            self.ended = self.ended or time.time()
            over = time.time() - started > 60 * minutes or (self.batches is not None and self.train_iter >= self.batches)
            if self.training and over:
                raise CancelFitException

    set_seed(seed)
    loaders = ImageDataLoaders.from_folder(
        folder, train="train", valid="test", item_tfms=Resize(presize), batch_tfms=aug_transforms(size=size), bs=64, num_workers=2
    )
    over = Over()
    learner = vision_learner(loaders, getattr(models, network), pretrained=False, cbs=[over])
    over.batches = 3
    with learner.no_bar(), learner.no_logging():
        learner.fit(1)
        each = (time.time() - over.ended) / 2
        over.batches = None
        epochs = max(1, int((60 * minutes - (time.time() - started)) / (each * len(loaders.train))))
        learner.fit_one_cycle(epochs)
        scores, labels = learner.get_preds(dl=loaders.valid)
    return float((scores.argmax(1) == labels).float().mean())


def fastai_small(folder: Path, minutes: float, seed: int, started: float) -> float:
    """The same with a network and a size for such machines."""
    return fastai(folder, minutes, seed, started, network="resnet18", presize=128, size=96)


def _until_over(
    model: Any, optimizer: Any, loader: Any, loss: Any, minutes: float, started: float, epoch_begins: Callable[[int], None] | None = None
) -> None:
    model.train()
    for epoch in itertools.count():
        if epoch_begins is not None:
            epoch_begins(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
            if time.time() - started > 60 * minutes:
                return


def _accuracy(model: Any, loader: Any) -> float:
    import torch

    model.eval()
    hits = images = 0
    with torch.inference_mode():
        for batch, labels in loader:
            hits += int((model(batch).argmax(1) == labels).sum())
            images += len(labels)
    return hits / images


RECIPES = {each.__name__: each for each in (imgstream, keras, torchvision, fastai, timm, fastai_small)}
OF_KERAS = ("imgstream", "keras")


def main() -> None:
    """Divide, run by turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--images", type=int, help="train on so many of the images, drawn at random (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default=",".join(RECIPES))
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="the interpreter that has torch, torchvision, timm and fastai")
    parser.add_argument("--title", default="From scratch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, seed = options.run
        started = time.time()
        print(RECIPES[name](options.directory, options.minutes, int(seed), started), time.time() - started)
        return
    names = options.only.split(",")
    results: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        train, test = divide(options.directory, Path(folder), options.images)
        for seed in options.seeds:
            for name in names:
                python = sys.executable if name in OF_KERAS else options.peers
                command = [python, __file__, folder, "--minutes", str(options.minutes), "--run", name, str(seed)]
                child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
                if child.returncode:
                    print(f"{name}: failed", file=sys.stderr)
                    continue
                accuracy, seconds = map(float, child.stdout.split()[-2:])
                results[name].append(100 * accuracy)
                print(f"{name}, seed {seed}: {100 * accuracy:.2f} % ({seconds:.0f} s with the evaluation)", file=sys.stderr, flush=True)
    rows = [
        f"| {name} | {statistics.mean(found):.2f} | {f'{min(found):.2f}–{max(found):.2f}' if len(found) > 1 else ''} | {len(found)} |"
        for name, found in results.items()
        if found
    ]
    section = "\n".join(
        (
            f"## {options.title}: {options.minutes:g} minutes",
            "",
            "| recipe | accuracy, % | range | runs |",
            "|---|---|---|---|",
            *rows,
            "",
            f"- **Images**: {train:,} to train on, {test:,} kept aside until the end; the same for all.",
            f"- **Machine**: {machine()}.",
            f"- **Command**: `python bench/recipes.py {options.directory.name} --minutes {options.minutes:g} "
            f"{f'--images {options.images} ' if options.images else ''}--seeds "
            f"{' '.join(map(str, options.seeds))} --only {options.only}`.",
            "",
        )
    )
    put(options.out, section)


if __name__ == "__main__":
    main()
