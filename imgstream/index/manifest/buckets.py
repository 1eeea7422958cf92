"""Tries the first objects that a manifest names in each bucket, so that wrong credentials are one error and not a million bad rows."""

from __future__ import annotations

from collections import Counter

from imgstream.errors import BadImage, DatasetError
from imgstream.files.addresses import LISTED_SCHEMES, Address, is_address, split_address
from imgstream.files.objects import Failed, describe, require
from imgstream.index.names import shown

_TRIED, _BUCKETS = 3, 8


class FirstObjects:
    """Asks for a few of the objects of a manifest. Others are found to be missing when they are read: to ask for all takes too long."""

    def __init__(self, root: str) -> None:
        """`root`: the folder, or address, that names are relative to."""
        self._prefix = f"{root}/".encode("utf-8", "surrogateescape") if is_address(root) else b""
        self._tried: Counter[str] = Counter()
        self._failed: dict[str, Failed] = {}
        self._any = False

    def note(self, folder: bytes, name: bytes) -> bool:
        """Whether an image is an object; then it is tried, unless enough are."""
        address = Address((folder if is_address(folder) else self._prefix + folder) + name)
        if not is_address(address):
            return False
        if not self._any:
            require(shown(address))
        bucket, _ = split_address(shown(address))
        is_new = bucket not in self._tried
        if bucket.startswith(LISTED_SCHEMES) and self._tried[bucket] < _TRIED and not (is_new and len(self._tried) > _BUCKETS):
            self._tried[bucket] += 1
            try:
                describe(address)
                self._failed.pop(bucket, None)
                self._tried[bucket] = _TRIED
            except Failed as error:
                if error.for_all:
                    self._failed[bucket] = error
            except BadImage:
                pass
        self._any = True
        return True

    def check(self) -> None:
        """Raise DatasetError when no bucket can be read."""
        if self._failed and len(self._failed) == sum(count > 0 for count in self._tried.values()):
            bucket, error = next(iter(self._failed.items()))
            raise DatasetError(f"{bucket} cannot be read: {error.detail}")
