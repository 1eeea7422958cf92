"""Writes a run's model as a file for other programs: converted, described, tried on the golden samples, and only then put in place."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError, OptionError, OutputError
from imgstream.export.calibration import CalibrationImages, loses_too_much, refusal
from imgstream.export.description import (
    DESCRIPTION,
    LABELS,
    Description,
    check_beside,
    drawn_patterns,
    labels_text,
    write_beside,
)
from imgstream.export.logits import difference_of, model_input
from imgstream.export.partly_int8 import leave_parts_out
from imgstream.export.serving import check_backend, raw_model, serving_model
from imgstream.files.atomic import check_target, sync_folder, translated
from imgstream.files.digests import digests
from imgstream.index import Source
from imgstream.models.forward import Forward
from imgstream.runs import Run
from imgstream.runs.golden import FLOAT32_TOLERANCE, OTHER_TOLERANCE, golden_files, golden_pixels
from imgstream.runtimes import FORMATS, Format, Precision, Runtime
from imgstream.runtimes.packages import need
from imgstream.runtimes.savedmodel import SavedModel
from imgstream.spec import SampleSpec
from imgstream.versions import versions
from imgstream.wording import either

_DEFAULT = "savedmodel"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported model, as it was put in place."""

    path: Path
    description: Description
    files: list[Path]
    """Those of the model, the first one being `path` or in it, then labels.txt and imgstream.json."""
    bytes: int
    """Of the model's files together."""
    difference: float
    """From the run's own model on the golden samples, at most, as a share of the largest logit."""

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        told = {name: getattr(self.description, name) for name in ("format", "precision", "raw", "class_names", "report")}
        files = [os.fspath(file) for file in self.files]
        return {"path": os.fspath(self.path), **told, "files": files, "bytes": self.bytes, "difference": self.difference}


def export_run(
    run: Run,
    output: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - as the option is called
    precision: Precision = "float32",
    calibrate: Source | None = None,
    raw: bool = False,
) -> Exported:
    """Write the model of `run` to `output`, whole or not at all, with labels.txt and imgstream.json beside it.

    The exported model takes uint8 (B, height, width, channels), RGB or grey, of the size of the run's spec, and gives probabilities,
    float32 (B, K), in the order of the run's class names. Where the spec has levels it takes float32: values as the files store them, of
    which it makes black and white itself. With `raw` it takes float32 by the spec's scale, and gives logits.

    Args:
        run: A finished run.
        output: A file that ends as its format does (.tflite, .onnx, .xml); or a folder: a SavedModel, or with `format` the one for a file
            model.tflite, model.onnx or model.xml.
        format: One of FORMATS; None takes it from the ending of `output`.
        precision: float32; float16 for weights of half the size; or int8 for weights and intermediate results in 8 bits: where that loses
            more than a point of accuracy on images, parts of the model stay in float32, and if that does not help, it is refused.
        calibrate: Images of the run's classes that int8 takes its ranges from, and others to measure with; None for those that the run was
            trained on.
        raw: Leave out scaling, temperature and softmax.

    Raises:
        OptionError: `output` and `format` do not go together, or there is no such format.
        ModelError: A package is missing, the model cannot be converted, or the file does not give what the run's model gives.
        OutputError: The file cannot be written.
        DatasetError: There are too few images for int8.
        RunError: The run's model cannot be loaded.
    """
    chosen, target = target_of(output, format)
    check_precision(chosen, precision)
    if calibrate is not None and precision != "int8":
        raise OptionError(f"calibrate is for precision int8, not {precision}: leave it out", "calibrate")
    for module in chosen.modules:
        need(module, chosen.extra)
    check_backend()
    model, spec, several = run.model, run.spec, run.thresholds is not None
    served = raw_model(model, spec) if raw else serving_model(model, spec, run.temperature, multi_label=several)
    description = Description(
        run=run.fingerprint,
        class_names=run.class_names,
        spec=spec,
        temperature=run.temperature,
        format=chosen.name,
        precision=precision,
        raw=raw,
        patterns=[[0.0] * len(run.class_names)] * 2,
        versions=versions("imgstream", "keras", "tensorflow", *chosen.modules),
        report={"validation": run.metrics},
        thresholds=None if run.thresholds is None else run.thresholds.astype(float).tolist(),
    )
    _check_target(chosen, target, description)
    pixels = golden_pixels(run.folder.golden, spec)
    expected = Forward(run.program, len(pixels))(pixels)
    images = CalibrationImages(run, calibrate) if precision == "int8" else None
    with _workplace(target) as folder:
        made = folder / (target.name if chosen.ending else "model")
        with translated(made):
            inputs = None if images is None else model_input(images.pixels, spec, raw)
            _write(chosen, served, made, precision, spec, inputs)
        runtime, measured = chosen.open(made), None
        if images is not None and inputs is not None:
            divisor = run.temperature if raw else 1.0
            measured = images.measured(runtime, divisor, raw)
            if loses_too_much(measured):
                runtime, measured = _partly_int8(chosen, served, made, inputs, lambda each: images.measured(each, divisor, raw), measured)
                made = runtime.path
        difference = _difference(runtime(model_input(pixels, spec, raw)), expected, raw, run)
        tolerance = {"float32": FLOAT32_TOLERANCE, "float16": OTHER_TOLERANCE, "int8": math.inf}[precision]  # int8 has another measure
        if not difference <= tolerance:
            raise ModelError(
                f"the exported model does not give what {run.path} gives: golden samples differ by {difference:.1e} of the largest logit, "
                f"{tolerance:.0e} is allowed. Nothing was written"
            )
        if isinstance(chosen, SavedModel) and not raw and spec.levels is None:
            encoded = _difference_of_encoded(chosen, made, run, expected)
            if not encoded <= OTHER_TOLERANCE:  # its decoder may differ by a level
                raise ModelError(f"the SavedModel reads golden files otherwise than {run.path}: {encoded:.1e} of the largest logit")
        patterns = runtime(drawn_patterns(spec, raw))
        report = {**description.report, "golden_difference": difference}
        if measured is not None:
            report["int8"] = measured
        description = dataclasses.replace(description, patterns=patterns.astype(float).tolist(), report=report)
        with translated(made):
            chosen.describe(made, {DESCRIPTION: description.text(), LABELS: labels_text(description.class_names)})
        Description.parse(chosen.open(made).metadata.get(DESCRIPTION), made)
        return _put(chosen, made, target, description, difference)


def target_of(output: str | os.PathLike[str], name: str | None) -> tuple[Format, Path]:
    """The format, and the path of the file or folder to write. Raises OptionError."""
    path = Path(output)
    by_ending = next((each for each in FORMATS.values() if each.ending and path.suffix.lower() == each.ending), None)
    if name is not None and name not in FORMATS:
        raise OptionError(f"format must be {either(FORMATS)}; got {name!r}", "format")
    if by_ending is not None:
        if name not in (None, by_ending.name):
            raise OptionError(f"{path} ends as a file of {by_ending.title} does, and format is {name}: leave out one of them", "format")
        return by_ending, path
    chosen = FORMATS[name or _DEFAULT]
    if chosen.ending:
        return chosen, path / f"model{chosen.ending}"
    if path.suffix and not path.is_dir() and name is None:
        endings = either(each.ending for each in FORMATS.values() if each.ending)
        raise OptionError(f"{path} tells no format: end it in {endings}, or give format savedmodel for a folder of that name", "format")
    return chosen, path


def check_precision(chosen: Format, precision: str) -> None:
    """Raise OptionError for a precision that a format does not have."""
    if precision not in chosen.precisions:
        raise OptionError(f"{chosen.title} is written in precision {either(chosen.precisions)}; got {precision}", "precision")


def _difference(found: np.ndarray, logits: np.ndarray, raw: bool, run: Run) -> float:
    if raw:
        return float(np.abs(found - logits).max() / max(1e-6, float(np.abs(logits).max())))
    return difference_of(found, logits, run.temperature, multi_label=run.thresholds is not None)


def _write(chosen: Format, served: Any, made: Path, precision: Precision, spec: SampleSpec, images: np.ndarray | None) -> None:
    if isinstance(chosen, SavedModel) and served.inputs[0].dtype == "uint8":
        from imgstream.export.encoded_images import ENCODED, encoded_endpoint  # it imports TensorFlow

        chosen.write_endpoints(served, made, {ENCODED: encoded_endpoint(served, spec)})
    else:
        chosen.write(served, made, precision, images)


def _partly_int8(
    chosen: Format,
    served: Any,
    made: Path,
    inputs: np.ndarray,
    accuracy_of: Callable[[Runtime], dict[str, Any]],
    measured: dict[str, Any],
) -> tuple[Runtime, dict[str, Any]]:
    """A model that stays in float32 in part, in a folder beside `made`, and its accuracy. Raises ModelError with `measured`, the accuracy
    of one that does not, when none is good enough.
    """
    numbers = itertools.count()

    def quantize(some: np.ndarray, parts: Collection[int]) -> Runtime:
        path = made.parent / f"trial-{next(numbers)}" / made.name
        with translated(path):
            path.parent.mkdir()
            chosen.write(served, path, "int8", some, parts)
        return chosen.open(path)

    def expected(some: np.ndarray) -> np.ndarray:
        return np.asarray(served(some, training=False), np.float32)

    found = leave_parts_out(quantize, inputs, expected, accuracy_of)
    if found is None:
        raise refusal(measured)
    return found


def _difference_of_encoded(chosen: SavedModel, made: Path, run: Run, logits: np.ndarray) -> float:
    """As difference_of, for the golden samples as files: those of the kinds that the endpoint takes."""
    from imgstream.export.encoded_images import ENCODED

    files = golden_files(run.folder.golden)
    chosen_kinds = [number for number, kind in enumerate(files) if kind in ("JPEG", "PNG")]
    found = chosen.call(made, ENCODED, [list(files.values())[number] for number in chosen_kinds])
    return difference_of(found, logits[chosen_kinds], run.temperature, multi_label=run.thresholds is not None)


def _check_target(chosen: Format, target: Path, description: Description) -> None:
    with translated(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if chosen.ending:
        for file in chosen.files(target):
            check_target(file)
        check_beside(target.parent, target.name, description)
    elif os.path.lexists(target) and not (target.is_dir() and (not any(target.iterdir()) or (target / "saved_model.pb").exists())):
        raise OutputError(f"{target} is there already, and is neither empty nor a SavedModel. Choose another folder")


@contextlib.contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, for the block alone."""
    folder = target.parent / f".imgstream-{secrets.token_hex(8)}.tmp"
    try:
        with translated(target):
            folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(chosen: Format, made: Path, target: Path, description: Description, difference: float) -> Exported:
    """Put the tried model and its companions in place. Whenever this is killed, there is either no model at `target` or a whole one."""
    files = chosen.files(made)
    size = sum(file.stat().st_size for file in files)
    home = chosen.home(target)
    named = digests(chosen.home(made), [file.relative_to(chosen.home(made)).as_posix() for file in files])
    with translated(target):
        for file in files:
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        if chosen.ending:
            target.unlink(missing_ok=True)  # a new file of weights must not be taken for that of an old model
            write_beside(home, target.name, description, named)
            for source, place in reversed(list(zip(files, chosen.files(target), strict=True))):
                os.replace(source, place)
            sync_folder(home)
        else:
            write_beside(made, files[0].name, description, named)
            if target.exists():
                os.replace(target, made.with_name("old"))
            os.replace(made, target)
            sync_folder(target.parent)
    return Exported(
        path=target,
        description=description,
        files=[*chosen.files(target), home / LABELS, home / DESCRIPTION],
        bytes=size,
        difference=difference,
    )
