"""The measurements of the stages. to_json has the unit in every name; rates are of wall time."""

from __future__ import annotations

import dataclasses
from typing import Any

from imgstream.spec import SampleSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """A measurement of whole files opened, read and closed, without decoding."""

    files: int
    bytes: int
    seconds: float

    @property
    def files_per_second(self) -> float:
        """Files/s."""
        return self.files / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        """MB/s, of 10⁶ bytes."""
        return self.bytes / 1e6 / self.seconds

    def to_json(self) -> dict[str, Any]:
        """files, files_per_second, megabytes_per_second."""
        return {"files": self.files, "files_per_second": self.files_per_second, "megabytes_per_second": self.megabytes_per_second}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Read:
    """Reading on one thread and on all threads. `first`: files that this command had not read before, although they may have been in the
    page cache; None if no such file was left. `again`: files that it had just read.
    """

    one_thread_first: Reading | None
    one_thread_again: Reading
    all_threads_first: Reading | None
    all_threads_again: Reading

    @property
    def first(self) -> Reading | None:
        """The fastest first reading: on all threads, or on one if that took all of the folder's few files."""
        return self.all_threads_first or self.one_thread_first

    def to_json(self) -> dict[str, Any]:
        """A Reading or null for each field."""
        readings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: None if reading is None else reading.to_json() for name, reading in readings.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """A number of images and the time that they took."""

    images: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images/s."""
        return self.images / self.seconds

    def to_json(self) -> dict[str, Any]:
        """images, images_per_second."""
        return {"images": self.images, "images_per_second": self.images_per_second}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Medians over the files that were decoded."""

    file_bytes: float
    stored_pixels: float
    """Width × height as the file declares them."""
    decoded_pixels: float
    """The same after a JPEG was decoded at 1/2, 1/4 or 1/8 of its size."""

    def to_json(self) -> dict[str, Any]:
        """median_file_bytes, median_stored_pixels, median_decoded_pixels."""
        return {f"median_{name}": value for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decode:
    """Decoding and resizing to the sample's size, from bytes in memory, in threads of one process."""

    one_thread: Rate
    all_threads: Rate
    sizes: Sizes

    def to_json(self) -> dict[str, Any]:
        """one_thread, all_threads, and the fields of Sizes."""
        return {"one_thread": self.one_thread.to_json(), "all_threads": self.all_threads.to_json(), **self.sizes.to_json()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One transform of an augmentation, on average over all images, including those that it did not change."""

    name: str
    microseconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """The augmentation of one image on one thread."""

    name: str
    microseconds: float
    """0 for none."""
    parts: tuple[Part, ...]
    """In the order in which they are applied; () for a function. The rest of the whole is calling, copying and checking."""

    def share(self, part: Part) -> float:
        """The part's share of the whole, 0 to 1."""
        return min(1.0, part.microseconds / self.microseconds) if self.microseconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """name, microseconds_per_image, and parts: name, microseconds_per_image, share (0 to 1)."""
        parts = [{"name": p.name, "microseconds_per_image": p.microseconds, "share": self.share(p)} for p in self.parts]
        return {"name": self.name, "microseconds_per_image": self.microseconds, "parts": parts}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that could not be read or decoded; path relative to the folder."""

    path: str
    reason: str
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """All measurements, and their conditions."""

    directory: str
    files: int
    """Number of files in the folder."""
    classes: int
    outputs: int
    """Of the measured model: the number of classes, but at least 2."""
    spec: SampleSpec
    small: tuple[int, int] | None
    """(height, width) of the smaller samples that training would start with; None if it would not."""
    model: str
    batch_size: int
    threads: int
    device: str
    """Keras backend and device, such as "tensorflow cpu"."""
    idle_gpu: str | None
    """The name of a GPU of this machine that the backend does not use; None if there is none."""
    memory_bytes: int | None
    """Of this machine; None if unknown."""
    seconds: float
    """Duration of all measurements, without importing."""

    tried: int
    """Number of different files that were opened; in a large folder only some of them are decoded too."""
    bad: tuple[BadFile, ...]
    """The bad files among them."""
    read: Read
    decode: Decode
    augment: Augment
    loader: Rate
    """Batches as training reads them: read, decoded, augmented, scaled."""
    transfer: Rate
    """Batches in memory, handed to the Keras backend."""
    step: Rate
    """Training steps on one batch in memory."""
    together: Rate | None
    """The loader feeding the step; None if no time was left."""

    @property
    def folder_bytes(self) -> float:
        """The folder's size, estimated from the files that were read."""
        return self.files * self.read.all_threads_again.bytes / self.read.all_threads_again.files

    def to_json(self) -> dict[str, Any]:
        """What `imgstream bench --json` prints, without "advice"."""
        height, width, channels = self.spec.shape
        return {
            "format": 1,
            "directory": self.directory,
            "files": self.files,
            "classes": self.classes,
            "folder_bytes_estimated": self.folder_bytes,
            "settings": {
                "height_pixels": height,
                "width_pixels": width,
                "channels": channels,
                "fit": self.spec.fit,
                "scale": self.spec.scale,
                "model": self.model,
                "outputs": self.outputs,
                "augment": self.augment.name,
                "batch_size": self.batch_size,
                "threads": self.threads,
                "device": self.device,
                "idle_gpu": self.idle_gpu,
            },
            "memory_bytes": self.memory_bytes,
            "seconds": self.seconds,
            "read": self.read.to_json(),
            "decode": self.decode.to_json(),
            "augment": self.augment.to_json(),
            "loader": self.loader.to_json(),
            "transfer": self.transfer.to_json(),
            "step": self.step.to_json(),
            "together": None if self.together is None else self.together.to_json(),
            "bad": {"files_tried": self.tried, "files": len(self.bad), "first": [dataclasses.asdict(b) for b in self.bad[:FIRST_BAD]]},
        }


FIRST_BAD = 5
"""Bad files that are named."""
