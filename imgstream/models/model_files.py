"""Opens files of models and weights; no other code does. Files are hostile: nothing in them is run, and no other file is read for them.

the kind of file ──► its config, checked by us (allowed_layers.py) ──► its archive and its arrays, checked by us ──► Keras, in safe mode
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from imgstream.errors import ModelError
from imgstream.files.compiled_programs import keep_programs
from imgstream.models.allowed_layers import check_config, needs_hub
from imgstream.wording import innermost

RUN_MODEL = "model.keras"
"""The model's file in a run folder."""

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = (_CONFIG, "metadata.json", _WEIGHTS)
"""What a .keras archive holds. Keras also knows "assets/", files that some layers read: those layers are not allowed."""
_MOST_TEXT = 64 << 20  # bytes of JSON; that of the largest of keras.applications has 0.5 MB
_MOST_EXPANSION = 100  # bytes that a file may declare for each that it has; compressed weights have one or two
_NUMBERS = "fiubV"  # kinds of dtype; V: bfloat16, which HDF5 has no name for
_FILTERS = (1, 2, 3, 32000)  # deflate, shuffle, fletcher32, lzf: all that h5py itself brings; for others HDF5 looks for plugins


def file_of(path: str | Path) -> Path:
    """The file that `path` means: itself, or the model.keras of a run folder."""
    path = Path(path)
    return path / RUN_MODEL if (path / RUN_MODEL).is_file() else path


def is_model_path(name: str) -> bool:
    """Whether a model's name means a file or run folder, existing or not."""
    return name.lower().endswith((".keras", ".h5")) or file_of(name) != Path(name)


def read_config(path: Path) -> dict[str, Any] | None:
    """The Keras config of the model in `path`, {"class_name": …, "config": …}; None for a file that holds only weights.

    Raises ModelError for a file that is neither, or whose config names anything but what allowed_layers.py lists.
    """
    check_kind(path)
    with _as_model_error(path):
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                _check_members(archive, path)
                text: str | bytes | None = archive.read(_CONFIG)
        else:
            with h5py.File(path, "r") as file:
                text = file.attrs.get("model_config")
        config = None if text is None else json.loads(text)
    if config is None:
        return None
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ModelError(f"{path}: its config is no Keras model's")
    if config.get("class_name") not in ("Functional", "Sequential", "Model"):
        raise ModelError(f"{path} holds a {config.get('class_name')}: only functional and Sequential models can be taken apart")
    check_config(config, path)
    return config


def load_whole(path: Path) -> Any:
    """The keras.Model in `path`, .keras or .h5, also of Keras 2, not compiled. No code of the file is run.

    Raises ModelError when that cannot be, as read_config does, and for a file that holds only weights.
    """
    config = read_config(path)
    if config is None:
        raise ModelError(f"{path} holds weights only: name the model too, such as --model SqueezeNet --weights {path}")
    if needs_hub(config):
        _register_hub(path)
    with _as_model_error(path):
        if path.suffix.lower() == ".keras":
            with (
                zipfile.ZipFile(path) as archive,
                h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as file,
            ):  # read completely, which checks the CRC
                arrays_in(file, path)
        else:
            with h5py.File(path, "r") as file:
                arrays_in(file, path)

    import keras

    keep_programs()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        wanted = re.search(r"(?:Could not locate class|Unknown layer:?|Could not find class) '?\"?([\w>]+)", str(error))
        if wanted:
            raise ModelError(f"{path} needs {wanted.group(1)}, a custom object: only models of Keras' own layers can be loaded") from error
        raise ModelError(f"the model in {path} cannot be loaded: {innermost(error)}") from error
    if not getattr(model, "inputs", None) or not model.layers:
        raise ModelError(f"{path} was never given the shape of its input: build the model before it is saved")
    return model


def _register_hub(path: Path) -> None:
    try:
        import keras_hub  # noqa: F401 - Keras then knows its classes
    except ImportError as error:
        raise ModelError(f"{path} needs KerasHub ({error}): pip install 'imgstream[hub]'") from None


def check_kind(path: Path) -> None:
    """Raise ModelError for a file that does not exist, or is not what its name says: .keras or .h5."""
    try:
        with path.open("rb") as file:
            begins = file.read(64)
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder without {RUN_MODEL}: give a run folder, or a .keras or .h5 file") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the weights file {path}: {getattr(error, 'strerror', None) or error}") from error
    if begins.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull where it came from")
    expected = {".keras": b"PK", ".h5": b"\x89HDF"}.get(path.suffix.lower())
    if expected is None:
        raise ModelError(f"{path}: weights are read from .keras, .weights.h5 and .h5 files, and run folders")
    if not begins.startswith(expected):
        found = f"it begins with {begins[:8]!r}" if begins else "it is empty"
        raise ModelError(f"{path} is no {path.suffix} file: {found}. Was it fetched whole?")


def arrays_in(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Every array of `file` by its path, without a leading slash. None of them is read yet.

    Raises ModelError, which names `path`, when an array lies in another file, or a link leads away; when it holds no numbers, or needs a
    plugin; and when all together declare more than the file can hold.
    """
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: Any) -> None:  # each object is visited once, and links are not followed
        if isinstance(item, h5py.Dataset):
            found[name] = item
        elif isinstance(item, h5py.Group):
            check_links(name, item)

    def check_links(name: str, group: h5py.Group) -> None:
        for child in group:
            if not isinstance(group.get(child, getlink=True), h5py.HardLink):
                raise ModelError(f"{path}: {f'{name}/{child}'.strip('/')} is a link to another place or file: it is not followed")

    check_links("", file)
    file.visititems(note)
    for name, item in found.items():
        if item.is_virtual or item.external:
            raise ModelError(f"{path}: {name} lies in another file: it is not read")
        if item.dtype.kind not in _NUMBERS:
            raise ModelError(f"{path}: {name} holds {item.dtype}, no numbers")
        created = item.id.get_create_plist()
        if any(created.get_filter(i)[0] not in _FILTERS for i in range(created.get_nfilters())):
            raise ModelError(f"{path}: {name} is packed in a way that needs a plugin of HDF5: it is not read")
    if sum(_bytes(item) for item in found.values()) > _MOST_EXPANSION * max(_size(path), 1 << 20):
        raise ModelError(f"{path}: its arrays declare many times what the file holds. Is it damaged?")
    return found


def first_line(error: Exception) -> str:
    """The first line of an error, or its type."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _as_model_error(path: Path) -> Iterator[None]:
    """Turn the errors of the libraries that read files into ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # zipfile, zlib, json and h5py raise many kinds of errors
        raise ModelError(f"{path} cannot be read: {first_line(error)}. Was it fetched whole?") from error


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise ModelError unless the archive holds a model's files only, each once, each a plain file of a possible size."""
    names = [member.filename for member in archive.infolist()]
    for member in archive.infolist():
        name = member.filename
        if name not in _MEMBERS:
            raise ModelError(f"{path} has {name[:100]!r} inside, and a model's archive holds {', '.join(_MEMBERS)} alone: it is not loaded")
        if names.count(name) > 1:
            raise ModelError(f"{path} has {name} twice inside: it is not loaded")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ModelError(f"{path}: {name} inside is a link or a folder: it is not loaded")
        most = _MOST_EXPANSION * max(_size(path), 1 << 20) if name == _WEIGHTS else _MOST_TEXT
        if member.file_size > most:
            raise ModelError(f"{path} is no model: its {name} declares {member.file_size >> 20:,} MB")


def _size(path: Path) -> int:
    return path.stat().st_size


def _bytes(item: h5py.Dataset) -> int:
    count = item.dtype.itemsize
    for n in item.shape or ():
        count *= int(n)
    return count
