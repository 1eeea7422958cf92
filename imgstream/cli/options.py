"""Options that several commands share."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imgstream.cli.help import DATA, MODEL, OUTPUT, PREDICTION, PREPROCESSING, SPEED, TRAINING
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.cluster.pool import Pool
    from imgstream.cluster.worker import Job
    from imgstream.export import EngineSelection
    from imgstream.index import ImageIndex, Source
    from imgstream.models.forward import Engine as ForwardEngine
    from imgstream.spec import SampleSpec
    from imgstream.stream import Stream
    from imgstream.stream.pipeline_selection import PipelineSelection


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read "224" or "180x299" (height × width) as (height, width). Raises typer.BadParameter."""
    from imgstream.spec import LARGEST

    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,18})(?:[xX×](\d{1,18}))?", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no size; give pixels as N, or HxW such as 180x299")
    height = int(match[1])
    size = height, int(match[2] or height)
    if not all(1 <= side <= LARGEST for side in size):
        raise typer.BadParameter(f"{text!r}: height and width are from 1 to {LARGEST} pixels")
    return size


def parse_batch_size(text: str) -> int | None:
    """Read a number of images; None for "auto". Raises typer.BadParameter."""
    if str(text) == "auto":
        return None
    if not str(text).isdecimal() or not int(text):
        raise typer.BadParameter(f"{text!r} is no batch size: auto, or a number of images such as 32")
    return int(text)


def parse_levels(text: str | None) -> str | None:
    """Check "auto" or "0:4095". Raises typer.BadParameter."""
    from imgstream.errors import SpecError
    from imgstream.spec import read_levels

    if text not in (None, "auto"):
        try:
            read_levels(str(text))
        except SpecError as error:
            raise typer.BadParameter(str(error)) from None
    return text


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str | int) -> int:
    """Read "20GB", "500MB", "1.5TiB" or a plain number, as bytes. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?", str(text).strip().lower())
    if not match or not (size := int(float(match[1]) * _UNITS[match[2]])):
        raise typer.BadParameter(f"{text!r} is no amount of memory; give bytes, such as 20GB, 500MB or 1.5TiB")
    return size


def parse_cluster(text: str) -> str:
    """Check "ray" or "ray://HOST:PORT". Raises typer.BadParameter."""
    host, _, port = text.removeprefix("ray://").rpartition(":")
    if text != "ray" and not (text.startswith("ray://") and host and port.isdecimal()):
        raise typer.BadParameter(f"{text!r} is no cluster; give ray, or ray://HOST:PORT such as ray://head:10001")
    return text


_COLUMNS = ("path", "label", "split", "group", "weight", "image")


def parse_columns(text: str) -> dict[str, str]:
    """Read "path=img,label=species" as a dict. Raises typer.BadParameter."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() in _COLUMNS and value.strip() for name, _, value in pairs):
        raise typer.BadParameter(f"{text!r}: give {', '.join(_COLUMNS)} a column each, as in path=img,label=species or path=0,label=1")
    return {name.strip(): value.strip() for name, _, value in pairs}


Images = Annotated[
    str, typer.Argument(metavar="DIR|MANIFEST", help="A folder of images, a list of them, archives and shards, or s3://BUCKET/PREFIX.")
]
LabelledImages = Annotated[
    str,
    typer.Argument(
        metavar="DIR|MANIFEST",
        help="A folder, or s3://BUCKET/PREFIX, with one folder of images for each class, or a list of labelled images.",
    ),
]
OUT = ("--out", "--output", "-o")
"""The spellings of the option for what a command writes: the same three in all commands."""

Size = Annotated[
    Any,
    typer.Option(
        "--size",
        metavar="N|HxW",
        parser=parse_size,
        help="Height and width in pixels that images are resized to: N for a square.",
        rich_help_panel=PREPROCESSING,
    ),
]
Levels = Annotated[
    Any,
    typer.Option(
        "--levels",
        metavar="auto|LOW:HIGH",
        parser=parse_levels,
        help="For images of more than 8 bits: the values that become black and white, such as 0:4095; auto takes them from the images.",
        rich_help_panel=PREPROCESSING,
    ),
]
Augment = Annotated[
    str,
    typer.Option(
        "--augment",
        metavar="NAME|FILE",
        help="Augmentation: none, light, standard, strong, randaugment, trivialaugment, policy.yaml, policy.json, layers.keras, "
        "layers.json or file.py:function.",
        rich_help_panel=PREPROCESSING,
    ),
]
AugmentOn = Annotated[
    str,
    typer.Option(
        "--augment-on",
        metavar="cpu|device",
        help="Where images are augmented: cpu, one by one, as they are decoded; or device, by the batch, in the training step, which "
        "spares the CPU and works with layers of Keras, on TensorFlow or JAX.",
        rich_help_panel=PREPROCESSING,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE|RUN|hub:PRESET",
        help="cnn, cnn-small or cnn-tiny (ours), SqueezeNet, one of keras.applications, a saved model, or a run, of which all but the last "
        "layer is taken; or a backbone of KerasHub by its preset, or the folder of one (default: the model that the weights belong to, or "
        "cnn).",
        rich_help_panel=MODEL,
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="RUN[,RUN]",
        help="Learn from what this run says too, or several: how a small model gets what large ones know.",
        rich_help_panel=TRAINING,
    ),
]
TeacherWeight = Annotated[
    float, typer.Option("--teacher-weight", metavar="SHARE", help="The teacher's share in the loss.", rich_help_panel=TRAINING)
]
TeacherTemperature = Annotated[
    float,
    typer.Option(
        "--teacher-temperature", metavar="T", help="The higher, the more a teacher's less likely classes count.", rich_help_panel=TRAINING
    ),
]
BatchSize = Annotated[
    Any,
    typer.Option(
        "--batch-size",
        metavar="auto|N",
        parser=parse_batch_size,
        help="Images in a batch; auto: 64, or as many as the memory has room for; with --minutes on a GPU the fastest up to 1,024.",
        rich_help_panel=TRAINING,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|mixed",
        help="auto: mixed precision where the processor is faster with it.",
        rich_help_panel=SPEED,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Threads that read and decode images (default: one for each core).",
        rich_help_panel=SPEED,
    ),
]
Pipeline = Annotated[
    Literal["auto", "python", "tf"],
    typer.Option(
        "--pipeline",
        metavar="auto|python|tf",
        help="What reads and decodes images: OpenCV in threads (python) or tf.data (tf). auto measures both where there are 2,000 images "
        "or more.",
        rich_help_panel=SPEED,
    ),
]
Engine = Annotated[
    Literal["auto", "keras", "openvino", "onnxruntime", "litert"],
    typer.Option(
        "--engine",
        metavar="auto|keras|openvino|onnxruntime|litert",
        help="What computes the model. auto measures those that are installed where there are 2,000 images or more.",
        rich_help_panel=SPEED,
    ),
]
Cache = Annotated[
    str,
    typer.Option(
        "--cache",
        metavar="auto|off|DIR",
        help="Keep decoded images on disk, so that later epochs need not decode them: in DIR, or for auto in the user's cache folder.",
        rich_help_panel=SPEED,
    ),
]
CacheLimit = Annotated[
    Any,
    typer.Option(
        "--cache-limit",
        metavar="20GB",
        parser=parse_bytes,
        help="The most disk space for the cache (default: 20GB).",
        rich_help_panel=SPEED,
    ),
]
LabelPattern = Annotated[
    str | None,
    typer.Option(
        "--label-pattern",
        metavar="REGEX",
        help="Take the label from each image's path, by a pattern with (?P<label>...), and not from its folder.",
        rich_help_panel=DATA,
    ),
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude",
        metavar="FILE",
        help="Leave out the images listed in FILE, such as imgstream check --quarantine writes.",
        rich_help_panel=DATA,
    ),
]
Corrections = Annotated[
    Path | None,
    typer.Option(
        "--corrections",
        metavar="FILE.csv",
        help="Put labels right by FILE, which a report's page makes. No image is touched.",
        rich_help_panel=DATA,
    ),
]
MultiLabel = Annotated[
    bool,
    typer.Option(
        "--multi-label",
        help="An image may have several labels: cat|dog in a manifest, columns of 0 and 1 (--columns 'label=cat|dog'), or a link in "
        "several class folders.",
        rich_help_panel=DATA,
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder that a manifest's paths are relative to (default: the manifest's own folder).",
        rich_help_panel=DATA,
    ),
]
Columns = Annotated[
    Any,
    typer.Option(
        "--columns",
        metavar="path=A,label=B",
        parser=parse_columns,
        help="A manifest's columns by name or, where it has no header, by number from 0; of shards, what holds image, label and path.",
        rich_help_panel=DATA,
    ),
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Also take a manifest's paths that lead out of its root.", rich_help_panel=DATA)
]
On = Annotated[
    Any,
    typer.Option(
        "--on",
        metavar="ray[://HOST:PORT]",
        parser=parse_cluster,
        help="Spread the work over a Ray cluster: the one that this machine belongs to, or a new one on it; or the one at HOST.",
        rich_help_panel=SPEED,
    ),
]
Parts = Annotated[
    int | None,
    typer.Option(
        "--parts",
        metavar="N",
        min=1,
        help="With --on: how many workers share the work (default: one for each GPU or, without any, for each machine).",
        rich_help_panel=SPEED,
    ),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="N",
        min=1,
        help="With --on: how many processes train as one (default: one for each GPU or, without any, for each machine).",
        rich_help_panel=SPEED,
    ),
]
TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        metavar="K",
        min=1,
        help="Write the K classes of highest score for each image (default: 1).",
        rich_help_panel=PREDICTION,
    ),
]
MinScore = Annotated[
    float,
    typer.Option(
        "--min-score", min=0.0, max=1.0, metavar="S", help="Label an image as unsure below this score.", rich_help_panel=PREDICTION
    ),
]
Tta = Annotated[
    Literal["flip"] | None,
    typer.Option(
        "--tta",
        metavar="flip",
        help="Test-time augmentation: average each image's scores with those of its mirror image.",
        rich_help_panel=PREDICTION,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.", rich_help_panel=OUTPUT)]


def choose(stream: Stream, asked: str) -> PipelineSelection:
    """Select the pipeline for `stream`: the one `asked` for, or the faster one for "auto". A terminal shows that it is being measured."""
    from imgstream.progress import error_console
    from imgstream.stream import choose_pipeline

    console = error_console()
    if asked != "auto" or not console.is_terminal:
        return choose_pipeline(stream, asked)
    with console.status("Which pipeline is the faster?"):
        return choose_pipeline(stream, asked)


def choose_engine(model: Any, spec: SampleSpec, asked: str, *, images: int, batch_size: int) -> tuple[ForwardEngine, EngineSelection]:
    """What computes the Keras `model`: see select_engine. A terminal shows that it is being prepared."""
    from imgstream.export import select_engine
    from imgstream.progress import error_console

    console = error_console()
    if not console.is_terminal:
        return select_engine(model, spec, asked, images=images, batch_size=batch_size)
    with console.status("Which engine is the fastest?" if asked == "auto" else "Preparing the engine"):
        return select_engine(model, spec, asked, images=images, batch_size=batch_size)


@contextlib.contextmanager
def pool(on: str, parts: int | None, job: Job, index: ImageIndex) -> Iterator[Pool]:
    """Workers on the cluster that --on names, for the block; how many there are is said on stderr, and a terminal shows that they start."""
    from imgstream.cluster.connection import connected
    from imgstream.cluster.pool import Pool
    from imgstream.progress import error_console

    console = error_console()
    with contextlib.ExitStack() as stack:
        with console.status("Starting workers on the cluster") if console.is_terminal else contextlib.nullcontext():
            cluster = stack.enter_context(connected(on, parts))
            console.print(f"Ray: {cluster}", soft_wrap=True)
            workers = stack.enter_context(Pool(cluster, job, index))
        yield workers


def check_parts(on: str | None, parts: int | None) -> None:
    """Raise typer.BadParameter for --parts without --on."""
    if parts is not None and on is None:
        raise typer.BadParameter("--parts says how a cluster shares the work: give it with --on ray")


def check_keeps_inputs(output: Path, *inputs: str | Path | None) -> None:
    """Raise OutputError when writing `output` would replace one of the `inputs`, or put a picture among images that are read."""
    from imgstream.errors import OutputError
    from imgstream.index import IMAGE_EXTENSIONS
    from imgstream.terminal.tables import printable

    target = Path(os.path.realpath(output))
    for given in inputs:
        if given is None or not os.path.exists(given):
            continue
        if os.path.isdir(given):
            if target.suffix.lower() in IMAGE_EXTENSIONS and target.is_relative_to(os.path.realpath(given)):
                raise OutputError(
                    f"{printable(str(output))} would be one of the images in {printable(str(given))}. Choose a folder outside of it"
                )
        elif target.exists() and os.path.samefile(target, given):
            raise OutputError(f"{printable(str(output))} is an input of this command, and would be overwritten. Choose another name")


def open_images(source: Source, label_pattern: str | None = None, **of_index: Any) -> ImageIndex:
    """Open a folder, a manifest, a table or files as an index, with progress; notices go to stderr. `of_index`: keywords of open_index."""
    from imgstream.index import open_index
    from imgstream.progress import counting, error_console
    from imgstream.terminal.tables import printable

    lines: list[str] = []
    with counting("Listing images") as scanned:
        index = open_index(source, label_pattern, progress=scanned, notice=lines.append, **of_index)
    for line in lines:
        error_console().print(printable(line), markup=False, soft_wrap=True)
    return index


def tell_changed(index: ImageIndex) -> None:
    """Say on stderr how many files have changed since imgstream first opened them."""
    from imgstream.progress import error_console
    from imgstream.terminal.tables import printable

    if changed := index.changed():
        text = f"{quantity(len(changed), 'file has', 'files have')} changed since first opened, such as {printable(changed[0])}"
        error_console().print(text, markup=False, soft_wrap=True)
