"""The files of a run folder: their names, their JSON, and the model's file. Each is written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgstream.errors import OutputError, RunError
from imgstream.files.atomic import check_is_no_address, write_bytes, write_json
from imgstream.files.digests import FILES, check_files, digests, is_intact, sealed

try:
    import fcntl
except ImportError:  # Windows: two trainings may write into one folder
    fcntl = None  # type: ignore[assignment]

FORMAT_VERSION = 1
_SEALED = ("model.keras", "spec.json", "class_names.json", "settings.json", "golden.npz", "profile.json")
"""The files that results depend on. index.arrow and the checkpoints have checksums of their own; the rest are records that nothing
reads.
"""


class RunFolder:
    """A run's files at `path`. Nothing is read or created until asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._is_locking, self._descriptor = False, -1

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder: from now on or, if it is not there yet, from `make` on. The system's lock of the folder
        itself, which ends with the process. Raises RunError when another training holds it.
        """
        self._is_locking = True
        try:
            if self.path.is_dir():
                self._lock()
            yield
        finally:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._is_locking, self._descriptor = False, -1

    def _lock(self) -> None:
        if fcntl is None or self._descriptor >= 0:
            return
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{self.path} is in use: another training writes into it. Wait until it has ended, or choose another --out"
            ) from None
        except OSError:  # a file system without locks, or a folder that may not be read, of which others tell
            return

    @property
    def model(self) -> Path:
        """model.keras: the best weights, averaged."""
        return self.path / "model.keras"

    @property
    def index(self) -> Path:
        """index.arrow: the table that the run was trained on."""
        return self.path / "index.arrow"

    @property
    def history(self) -> Path:
        """history.csv: one line for each validation."""
        return self.path / "history.csv"

    @property
    def skipped(self) -> Path:
        """skipped.csv: path, reason and detail of each bad file."""
        return self.path / "skipped.csv"

    @property
    def golden(self) -> Path:
        """golden.npz: encoded samples and their logits."""
        return self.path / "golden.npz"

    @property
    def profile(self) -> Path:
        """profile.json: statistics of the training and validation images."""
        return self.path / "profile.json"

    @property
    def memory(self) -> Path:
        """memory.csv: the memory that training took, over time."""
        return self.path / "memory.csv"

    @property
    def checkpoints(self) -> Path:
        """checkpoints/: what training resumes from."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """tensorboard/: event files, with the TensorFlow backend."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """report.html: what the run is, for people."""
        return self.path / "report.html"

    def check_new(self, source: str | bytes | os.PathLike[str] | None) -> None:
        """Raise RunError where a run would lie among other files: in `source`, the folder of images, or beside what is of no run;
        OutputError for an address.
        """
        check_is_no_address(self.path)
        if source is not None and os.path.isdir(source):
            images, out = os.path.realpath(os.fsdecode(source)), os.path.realpath(self.path)
            if os.path.commonpath([images, out]) == images:
                raise RunError(f"{self.path} lies in the folder of images, and would be one of its classes. Choose an --out outside of it")
        try:
            found = set(os.listdir(self.path))
        except OSError:  # not there: or what `make` tells of
            return
        if found and not found & {*_SEALED, "run.json", "settings.json", "index.arrow", "checkpoints", "tensorboard", "memory.csv"}:
            raise RunError(f"{self.path} is not empty, and is no run folder: it holds {min(found)!r}. Choose another --out")

    def make(self) -> None:
        """Create the folder. Raises OutputError when that is not possible."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if self._is_locking:
                self._lock()
        except OSError as error:
            raise OutputError(f"cannot make the run folder {self.path}: {error.strerror}. Choose another --out") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """The contents of one of the JSON files, an object. Raises RunError when it is missing or damaged."""
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if not self.path.is_dir():
                raise RunError(f"there is no run folder {self.path}. A run folder is what `imgstream train DIR --out RUN` writes") from None
            raise RunError(
                f"{self.path} is no run folder: it has no {name}. A run folder is what `imgstream train DIR --out RUN` writes"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.path / name} cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RunError(f"{self.path / name} holds no JSON object. Copy the whole folder again")
        return data

    def write_json(self, name: str, data: Any) -> None:
        """Write one of the JSON files. Raises OutputError."""
        write_json(self.path / name, data)

    def state(self) -> dict[str, Any]:
        """run.json, of a version that this imgstream reads. Raises RunError."""
        state = self.read_json("run.json")
        if state.get("format") != FORMAT_VERSION:
            raise RunError(f"{self.path}/run.json has format {state.get('format')!r}; this imgstream reads format {FORMAT_VERSION}")
        if not is_intact(state):
            raise RunError(
                f"{self.path}/run.json does not match its own checksum: it is damaged, or was changed. Copy the whole folder again"
            )
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Write run.json, with the digests of the other files as they are now."""
        self.write_json("run.json", sealed({**state, "format": FORMAT_VERSION, FILES: digests(self.path, _SEALED)}))

    def check(self, state: dict[str, Any], *names: str) -> None:
        """Raise RunError when one of the files has changed since run.json, whose contents are `state`, was written."""
        check_files(self.path, state.get(FILES), names)

    def save_model(self, model: Any, shape: tuple[int, int, int]) -> Any:
        """Write model.keras, without optimizer and with its input's size fixed to `shape`; return the model as it was written.

        Keras can only write to a path, so the file is copied atomically afterwards.
        """
        import keras

        saved = keras.models.clone_model(model, input_tensors=keras.Input(shape, name=model.inputs[0].name))
        saved.set_weights(model.get_weights())
        temporary = self.path / f".model-{os.getpid()}.keras"
        try:
            saved.save(temporary)
            write_bytes(self.model, temporary.read_bytes())
        except OSError as error:
            raise OutputError(f"cannot write {self.model}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return saved

    def fingerprint(self, temperature: float, thresholds: list[float] | None = None) -> str:
        """What predictions depend on, as 16 hex digits: the model's bytes, the spec, the class names, a temperature other than 1, and with
        several labels an image the thresholds.
        """
        digest = hashlib.sha256()
        for each in digests(self.path, ("model.keras", "spec.json", "class_names.json")).values():
            digest.update(bytes.fromhex(each))
        if temperature != 1:
            digest.update(repr(temperature).encode())
        if thresholds is not None:
            digest.update(repr(thresholds).encode())
        return digest.hexdigest()[:16]
