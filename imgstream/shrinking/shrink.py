"""shrink_run: prunes the model of a run and trains it further, as a new run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imgstream.errors import OptionError, OutputError
from imgstream.files.atomic import write_bytes
from imgstream.runs import Run
from imgstream.runs.folder import RunFolder
from imgstream.shrinking.channels import pruned
from imgstream.training import train
from imgstream.training.state.config_file import NAME, read_config
from imgstream.wording import quantity

_AS_BEFORE = ("multi_label", "val", "val_share", "group", "fold", "label_smoothing", "balance", "cache", "cache_limit", "seed", "max_bad")
"""What decides on the split and on the loss: images that were held out stay so."""
_PATHS = ("val", "group", "cache")
"""Of these, what train.yaml has as absolute paths: the run may have been trained from another folder."""


def shrink_run(
    run: Run,
    *,
    keep: float,
    out: str | os.PathLike[str],
    augment: Any = None,
    resume: bool = False,
    notice: Callable[[str], None] | None = None,
    **options: Any,
) -> Run:
    """Cut whole channels out of the model of `run`, those whose weights are smallest, and train what is left, as a new run in `out`.

    It is trained on the images of `run`, with the same ones held out: first its head on frozen features, then all of it. Half of the
    channels have about a quarter of the weights and of the work.

    Args:
        run: A finished run. Its images must still be where they were.
        keep: The share of channels to keep, above 0 and below 1; numbers are rounded to multiples of 8.
        out: The run folder to write.
        augment: As of train; None for that of `run`.
        resume: Go on with an unfinished run in `out`.
        notice: Called with lines about what was cut, and with those of train.
        **options: Keywords of train: minutes=5, epochs=5, teacher=run.path, …

    Returns:
        The new run.

    Raises:
        OptionError: `keep` is impossible, or the augmentation of `run` has to be named again.
        ModelError: The network has layers of which it is not known how their channels belong together.
        RunError: `run` cannot be loaded, or there is a run in `out` already. Otherwise as imgstream.train.
    """
    if not 0 < keep < 1:
        raise OptionError(f"keep is the share of the channels that stay, above 0 and below 1; got {keep:g}", "keep")
    folder, before = RunFolder(out), run.folder.read_json("settings.json")
    recorded = Path(run.path) / NAME
    config = read_config(recorded) if recorded.exists() else {}  # the first runs had none
    if augment is None:
        augment = _augmentation(run, config)
    file = folder.path / f"pruned-{keep:g}.keras"
    if not (folder.path / "run.json").exists():
        folder.check_new(config.get("directory"))
        smaller = pruned(run.model, keep)
        _write(smaller, folder, file, run)
        if notice is not None:
            was, now = run.model.count_params(), smaller.count_params()
            notice(f"Pruned: {quantity(was, 'weight')} before, {now:,} now, {100 * now / was:.0f} %")
    kept = {name: before[name] for name in _AS_BEFORE if name in before}
    kept |= {name: config[name] for name in _PATHS if name in config}
    kept |= {"size": run.spec.size, "fit": run.spec.fit, "channels": run.spec.channels, "levels": run.spec.levels}
    return train(
        run.folder.index, out=out, resume=resume, notice=notice, **{**kept, "augment": augment, **options, "model": os.fspath(file)}
    )


def _augmentation(run: Run, config: dict[str, Any]) -> str:
    """That of the run, as --augment takes it. Raises OptionError where it is code, which is run only where the user names it."""
    found = str(config.get("augment", "standard"))
    if found.startswith("(") or ".py:" in found:
        raise OptionError(f"augment: {run.path} was trained with {found}, which is code: name it again, or take another one", "augment")
    return found


def _write(model: Any, folder: RunFolder, file: Path, run: Run) -> None:
    """Write the pruned model, and beside it the spec, which says how it wants its pixels."""
    folder.make()
    temporary = folder.path / f".pruned-{os.getpid()}.keras"
    try:
        model.save(temporary)
        write_bytes(file, temporary.read_bytes())
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    folder.write_json("spec.json", run.spec.to_json())
