"""Reads and lists what is behind addresses, with obstore: Rust's object_store, which the extra [cloud] installs.

Credentials are what obstore finds in the environment (or boto3, if that is installed, in its files); they pass through nothing here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NamedTuple

from imgstream.errors import BadImage, DatasetError
from imgstream.files.addresses import Address, split_address

RETRIES = 5
"""How often a request is made again that a server could not answer, did not answer, or cut off: over some 3 seconds, then longer."""
AT_ONCE = 32
"""Threads where each waits for one object after another."""
_CONNECT, _SILENCE, _WHOLE = 5, 20, 300
"""Seconds that a connection may take, that nothing may come, and that a request may take in all."""
_GIVEN_UP_AFTER = 8
"""Requests that have failed in a row, retries and all, after which a server is taken to be down: then each is made once, and not waited for
so long, until one is answered. Otherwise a bucket that vanishes would take minutes for each batch.
"""
_PAGE = 1000
_NOTHING = memoryview(b"")
_NO_OBSTORE = 'needs the package obstore: pip install "imgstream[cloud]"'
_ADVICE = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or AWS_SKIP_SIGNATURE=true for a public bucket; "
    "AWS_REGION if the bucket is not in us-east-1; AWS_ENDPOINT_URL for a server other than Amazon's",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of an account that may read it, or GOOGLE_SKIP_SIGNATURE=true for a "
    "public bucket",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a "
    "public container",
}
"""What to set, by scheme."""


class Got(NamedTuple):
    """An object, as it was when it was read."""

    data: memoryview
    """Its bytes; none where it has more than were asked for."""
    size: int
    """Of all of it, in bytes."""
    modified: int
    """See modified_of."""


class Listed(NamedTuple):
    """What a listing says of an object."""

    key: str
    size: int
    modified: int


class Failed(BadImage):
    """An object that cannot be read. `for_all`: whether the same is to be expected of every other in its bucket."""

    def __init__(self, reason: str, detail: str, path: str | None = None, for_all: bool = False) -> None:
        super().__init__(reason, detail, path)
        self.for_all = for_all


def modified_of(described: Any) -> int:
    """When an object was last written, in nanoseconds since 1970: the second is the server's, and what is below it depends on the ETag, so
    that two versions written in one second differ.
    """
    etag = (described["e_tag"] or "").removeprefix("W/").strip('"')
    digest = hashlib.blake2b(etag.encode(), digest_size=8).digest()
    return int(described["last_modified"].timestamp()) * 1_000_000_000 + int.from_bytes(digest) % 1_000_000_000


def get(address: Address, most: int) -> Got:
    """An object of at most `most` bytes; of a larger one, only what is said of it. Raises BadImage."""
    with _asking(address) as (store, key, obstore):
        found = obstore.get(store, key)
        size = found.meta["size"]
        data = memoryview(found.bytes()) if size <= most else _NOTHING
        return Got(data, size, modified_of(found.meta))


def get_part(address: Address, start: int, size: int) -> Got:
    """Bytes of an object from `start` on, fewer than `size` at its end. Raises BadImage."""
    with _asking(address) as (store, key, obstore):
        found = obstore.get(store, key, options={"range": (start, start + size)})
        return Got(memoryview(found.bytes()), found.meta["size"], modified_of(found.meta))


def describe(address: Address) -> Got:
    """The size and version of an object, without its bytes. Raises BadImage."""
    with _asking(address) as (store, key, obstore):
        found = obstore.head(store, key)
        return Got(_NOTHING, found["size"], modified_of(found))


def list_objects(prefix: str) -> Iterator[list[Listed]]:
    """All objects below an address, a page at a time, in the order of their keys where the store has one. Raises DatasetError."""
    root, key = split_address(prefix)
    obstore = require(prefix)
    waiting = ThreadPoolExecutor(1, "imgstream-objects")  # Ctrl-C does not end a request, but ends waiting for one
    try:
        pages = obstore.list(_store(root, True), key.rstrip("/") or None, chunk_size=_PAGE)
        ahead = waiting.submit(next, pages, None)
        while (page := ahead.result()) is not None:
            ahead = waiting.submit(next, pages, None)
            yield [Listed(found["path"], found["size"], modified_of(found)) for found in page]
    except (obstore.exceptions.BaseError, OSError, ValueError) as error:
        raise _not_listed(error, prefix) from None
    finally:
        waiting.shutdown(wait=False, cancel_futures=True)


def require(address: str) -> Any:
    """The module obstore, before the first of many requests: credentials that have been set since the last ones count from now on. Raises
    DatasetError if the extra [cloud] is missing.
    """
    obstore = _obstore(address)
    environment = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    with _lock:
        if environment != _environment:
            _environment.clear()
            _environment.update(environment)
            _store.cache_clear()
            _failures.clear()
    return obstore


@contextlib.contextmanager
def _asking(address: Address) -> Iterator[tuple[Any, str, Any]]:
    """A store, the key in it, and obstore's module; an error of obstore in the block becomes a BadImage."""
    root, key = split_address(os.fsdecode(address))
    obstore = _obstore(root)
    patient = _failures[root] < _GIVEN_UP_AFTER
    try:
        key.encode()
        if root.startswith("http") and "?" in key:  # a signed address: its query cannot be part of a key
            yield _store(f"{root}/{key}", patient), "", obstore
        else:
            yield _store(root, patient), urllib.parse.unquote(key) if root.startswith("http") else key, obstore
    except (obstore.exceptions.BaseError, OSError, ValueError) as error:
        failed = _as_bad_image(error, root)
        with _lock:
            _failures[root] = _failures[root] + 1 if failed.reason == "read error" else 0
        raise failed from None
    if _failures[root]:
        _failures[root] = 0


_failures: Counter[str] = Counter()
"""Requests of each store that have failed in a row."""
_environment: dict[str, str] = {}
"""What the stores were made in."""
_lock = threading.Lock()


def _obstore(of: str) -> Any:
    try:
        importlib.import_module("obstore.exceptions")
        return importlib.import_module("obstore")
    except ImportError as error:
        raise DatasetError(f"{of.partition('://')[0]}:// {_NO_OBSTORE} ({error})") from None


@functools.lru_cache(maxsize=64)
def _store(root: str, patient: bool) -> Any:
    """The store behind an address without a key. Its connections are shared by all threads."""
    stores = importlib.import_module("obstore.store")
    scheme, _, name = root.partition("://")
    silence = _SILENCE if patient else _CONNECT
    options: dict[str, Any] = {
        "client_options": {
            "connect_timeout": timedelta(seconds=_CONNECT),
            "read_timeout": timedelta(seconds=silence),
            "timeout": timedelta(seconds=_WHOLE),
            "allow_http": scheme == "http" or _uses_http(),
        },
        "retry_config": {"max_retries": RETRIES if patient else 0, "retry_timeout": timedelta(seconds=3 * silence)},
    }
    if scheme == "s3":
        return stores.S3Store(name, **options, **_kept_by_boto3())
    if scheme == "gs":
        return stores.GCSStore(name, **options)
    if scheme == "az":
        return stores.AzureStore(name, **options)
    return stores.HTTPStore.from_url(root, **options)


def _uses_http() -> bool:
    """Whether the user names a server without TLS, such as one on this machine: obstore asks for a second variable for that."""
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "GOOGLE_BASE_URL")
    return any(os.environ.get(name, "").startswith("http://") for name in names)


def _kept_by_boto3() -> dict[str, Any]:
    """Credentials from the files that boto3 knows, where the environment has none and boto3 is installed."""
    environment = {name.upper() for name, value in os.environ.items() if value}
    if environment & {"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}:
        return {}
    with contextlib.suppress(Exception):  # not installed, or it finds none either: then obstore says what is missing
        boto3 = importlib.import_module("boto3")
        session = boto3.Session()
        if session.get_credentials() is not None:
            provider = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider(session)
            return {"credential_provider": provider, **({"region": session.region_name} if session.region_name else {})}
    return {}


_STATUS = re.compile(r"status code: (\d{3})([ A-Za-z-]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def _as_bad_image(error: Exception, root: str) -> Failed:
    """What an error of obstore means. Its own text is not passed on: it may hold an address with a signature, and has many lines."""
    text, scheme = str(error), root.partition("://")[0]
    status, code = _STATUS.search(text), _CODE.search(text)
    answer = f"{status[1]}{status[2].rstrip()}" if status else ""
    kind = type(error).__name__
    advice = _ADVICE.get(scheme, "check the address")
    if isinstance(error, FileNotFoundError) or (status and status[1] == "404"):
        if code is not None and code[1] in ("NoSuchBucket", "ContainerNotFound"):
            return Failed("missing", "there is no such bucket", for_all=True)
        return Failed("missing", "there is no such object")
    if "169.254.169.254" in text or "metadata.google" in text or "Account must be specified" in text or "redential" in text:
        return Failed("no permission", f"no credentials were found: {advice}", for_all=True)
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or (status and status[1] in ("401", "403")):
        return Failed("no permission", f"the server refuses it ({answer or kind}{f', {code[1]}' if code else ''}): {advice}", for_all=True)
    if isinstance(error, ValueError) or kind == "InvalidPathError":
        return Failed("unsupported", "its key has an empty part, . or .., or a control character, which obstore cannot ask for")
    if status:
        often = f", also after {RETRIES} retries" if status[1] in ("429", "500", "502", "503", "504") else ""
        hint = f": {advice}" if status[1] in ("301", "400") else ""
        return Failed("read error", f"the server answers {answer}{often}{hint}", for_all=bool(hint))
    if "Content-Length" in text or "content length" in text.lower():
        return Failed("unsupported", "the server does not say how many bytes it has")
    if "timed out" in text or "TimedOut" in text:
        return Failed("read error", "the server does not answer in time", for_all=True)
    if "sending request" in text or "Connect" in text:
        hint = "; AWS_ENDPOINT_URL says which it is" if scheme == "s3" else ""
        return Failed("read error", f"the server cannot be reached{hint}", for_all=True)
    return Failed("read error", "the connection was cut, also when it was tried again")


def _not_listed(error: Exception, prefix: str) -> DatasetError:
    text = str(error)
    if (found := re.search(r'parsing Path "(.*?)":|Path "(.*?)" contained', text, re.DOTALL)) is not None:
        key = found[1] or found[2]
        return DatasetError(
            f"{prefix} cannot be listed: its key {key!r} has an empty part, . or .., or a control character, which obstore cannot read. "
            "Rename that object, give a longer prefix, or a manifest of addresses"
        )
    if "invalid list response" in text:
        return DatasetError(
            f"{prefix} cannot be listed: the server's list is no valid XML, as with keys that are no UTF-8. Give a manifest"
        )
    failed = _as_bad_image(error, prefix)
    return DatasetError(f"{prefix} cannot be listed: {failed.detail}")
