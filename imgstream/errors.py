"""The errors and warnings of imgstream.

ImgstreamError                 everything imgstream raises on purpose; the command line prints it as one line, exit 1
├── SpecError (ValueError)     an impossible SampleSpec, or an impossible argument of Stream
├── NoImagesError (ValueError) nothing to read under the folder that was given
│   └── NoFolderError          no such folder, for image_dataset_from_directory (FileNotFoundError)
├── DatasetError               images that cannot be used as asked (one class, no labels, too many bad files)
│   └── OptionError            an impossible value, or options that do not go together; on the command line exit 2
├── AugmentError               an augmentation that cannot be loaded, or that broke a sample
├── ModelError                 a model or weights that cannot be used, or a training that diverged
├── RunError                   a run folder that is missing, unfinished, damaged or in the way
├── OutputError                a result that cannot be written
├── ClusterError               other machines that cannot be reached, or cannot do the work
└── BadImage                   one file that is no usable image: .reason (of REASONS), .detail, .path

CacheWarning (UserWarning)     the pixel cache has stopped growing
DatasetWarning (UserWarning)   rows of a manifest that cannot be used, or classes whose names look alike
StallWarning (UserWarning)     nothing was finished for a long time: which files are open
"""

from __future__ import annotations

import re

REASONS = (
    "missing",  # no such file, or a link that leads nowhere
    "empty",  # zero bytes
    "truncated",  # the data ends before the image does
    "corrupt",  # the right kind of file, with contents that cannot be decoded
    "wrong kind",  # not an image at all, whatever its name says
    "unsupported",  # an image, of a kind that no decoder here reads
    "too large",  # declares more pixels than SampleSpec.max_pixels; found before decoding
    "not a regular file",  # a folder, pipe, socket or device
    "no permission",
    "read error",  # the file system failed while reading
)
"""Every reason for which a file can be bad; no other is ever reported."""


class ImgstreamError(Exception):
    """Base of every error that imgstream raises on purpose."""


class SpecError(ImgstreamError, ValueError):
    """A SampleSpec or a Stream with an impossible value."""


class NoImagesError(ImgstreamError, ValueError):
    """A folder, list of files or pattern without images."""


class NoFolderError(NoImagesError, FileNotFoundError):
    """A folder that is not there: as Keras' image_dataset_from_directory tells of it."""


class DatasetError(ImgstreamError):
    """Images that cannot be used as asked."""


class OptionError(DatasetError):
    """An option with an impossible value, or options that do not go together."""

    def __init__(self, text: str, *options: str) -> None:
        """`options`: the keywords that `text` names."""
        super().__init__(text)
        self.options = options

    def for_command_line(self) -> str:
        """The text with the names that the options have there: head_only is --head-only. A name that is a word like others stands first."""
        text = str(self)
        for name in self.options:
            text = re.sub(rf"(?<![\w-]){name}\b", "--" + name.replace("_", "-"), text, count="_" not in name)
        return text


class AugmentError(ImgstreamError):
    """An augmentation that cannot be loaded, or that returned something other than a sample."""


class ModelError(ImgstreamError):
    """A model name or weights file that cannot be used, or a training whose loss is no longer finite."""


class RunError(ImgstreamError):
    """A run folder that is missing, damaged, or would be overwritten."""


class OutputError(ImgstreamError):
    """A result that cannot be written where it was asked for."""


class ClusterError(ImgstreamError):
    """A cluster that cannot be reached, or a machine of it that cannot do the work as this one would."""


class CacheWarning(UserWarning):
    """The cache cannot keep more: its limit is reached, or the disk refuses. Everything else goes on."""


class DatasetWarning(UserWarning):
    """Rows of a manifest cannot be used and are left out, or their files are missing, or classes have names that look alike."""


class StallWarning(UserWarning):
    """Nothing was finished for a long time: a decoder hangs, or a disk does not respond. It names the files that are open."""


class BadImage(ImgstreamError):
    """One file that is no usable image. `reason` is one of REASONS; `detail` says what was found; `path` is the file, if known."""

    def __init__(self, reason: str, detail: str, path: str | None = None) -> None:
        if reason not in REASONS:
            raise ValueError(f"unknown reason {reason!r}; one of {', '.join(REASONS)}")
        self.reason, self.detail, self.path = reason, detail, path
        super().__init__(reason, detail, path)

    def __str__(self) -> str:
        text = f"{self.reason}: {self.detail}"
        return text if self.path is None else f"{self.path}: {text}"
