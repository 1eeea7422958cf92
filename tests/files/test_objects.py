"""Objects are read whole or not at all; what goes wrong with a server becomes a reason, and none of it holds a secret."""

from __future__ import annotations

import builtins
import importlib
import pickle
import sys
from typing import Any

import pytest

from bucket_server import CUT, BucketServer, Stored
from imgstream.errors import BadImage, DatasetError
from imgstream.files import objects
from imgstream.files.addresses import Address, absolute, is_address, split_address
from imgstream.files.objects import describe, get, get_part, list_objects

KEYS = ["cats/1.jpg", "a b.jpg", "q?x#y%20+.jpg", "é.jpg", "<script>.jpg", "'\"&.jpg", "back\\slash.jpg", "*~[]{}|^`.jpg"]


@pytest.fixture(autouse=True)
def few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RETRIES", 2)
    monkeypatch.setattr(objects, "_SILENCE", 0.2)
    objects._store.cache_clear()
    objects._failures.clear()


def address(key: str) -> Address:
    return Address(f"s3://photos/{key}".encode())


def refused(key: str) -> BadImage:
    with pytest.raises(BadImage) as error:
        get(address(key), 1 << 20)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize("key", KEYS)
def test_an_object_comes_as_it_was_stored_whatever_its_key(bucket: BucketServer, key: str) -> None:
    bucket.buckets["photos"][key] = Stored(b"0123456789")
    got = get(address(key), 1000)
    assert (bytes(got.data), got.size) == (b"0123456789", 10)
    assert bytes(get_part(address(key), 3, 4).data) == b"3456"
    assert bytes(get_part(address(key), 8, 100).data) == b"89"


def test_a_large_object_is_described_and_not_read(bucket: BucketServer) -> None:
    bucket.buckets["photos"]["a.jpg"] = Stored(bytes(2000))
    got = get(address("a.jpg"), 1000)
    assert (len(got.data), got.size) == (0, 2000)


def test_a_plain_address_is_unquoted_and_one_with_a_signature_keeps_its_query(bucket: BucketServer) -> None:
    bucket.key_id = None
    bucket.buckets["photos"]["a b.jpg"] = Stored(b"abc")
    for query in ("", "?signature=x%2Fy&expires=1"):
        assert bytes(get(Address(f"{bucket.endpoint}/photos/a%20b.jpg{query}".encode()), 10).data) == b"abc"


def test_two_versions_of_one_second_differ_and_a_listing_names_the_same_version(bucket: BucketServer) -> None:
    photos = bucket.buckets["photos"]
    photos["a.jpg"] = Stored(b"abc", modified=1_700_000_000)
    first = get(address("a.jpg"), 10).modified
    assert first // 10**9 == 1_700_000_000
    assert first == describe(address("a.jpg")).modified == get_part(address("a.jpg"), 1, 1).modified
    assert [listed.modified for page in list_objects("s3://photos") for listed in page] == [first]
    photos["a.jpg"] = Stored(b"xyz", modified=1_700_000_000)
    assert get(address("a.jpg"), 10).modified != first


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (503, "read error", "503 Service Unavailable, also after 2 retries"),
        (CUT, "read error", "cut"),
        (403, "no permission", "403 Forbidden, AccessDenied): set AWS_ACCESS_KEY_ID"),
        (404, "missing", "no such object"),
    ],
)
def test_a_fault_that_lasts_is_a_reason(bucket: BucketServer, status: int, reason: str, said: str) -> None:
    bucket.buckets["photos"]["a.jpg"] = Stored(bytes(100_000))
    bucket.fault = lambda request: status
    error = refused("a.jpg")
    assert error.reason == reason
    assert said in error.detail


@pytest.mark.parametrize("status", [503, 500, CUT])
def test_a_fault_that_passes_is_nobodys_business(bucket: BucketServer, status: int) -> None:
    bucket.buckets["photos"]["a.jpg"] = Stored(b"abc" * 1000)
    bucket.fault = lambda request: status if bucket.requests[request] == 1 else 0
    assert bytes(get(address("a.jpg"), 5000).data) == b"abc" * 1000


def test_a_bucket_that_is_not_there_is_told_from_an_object(bucket: BucketServer) -> None:
    del bucket.buckets["photos"]
    assert refused("a.jpg").detail == "there is no such bucket"


@pytest.mark.parametrize("key", ["a//b.jpg", "a/../b.jpg", "./b.jpg", "a\nb.jpg", "\udcff.jpg"])
def test_a_key_that_cannot_be_asked_for_is_a_reason(bucket: BucketServer, key: str) -> None:
    with pytest.raises(BadImage) as error:
        get(Address(f"s3://photos/{key}".encode("utf-8", "surrogateescape")), 10)
    assert error.value.reason == "unsupported"
    assert not bucket.requests


def test_a_server_that_stays_away_is_soon_waited_for_no_more(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_GIVEN_UP_AFTER", 2)
    bucket.buckets["photos"]["a.jpg"] = Stored(b"abc")
    bucket.fault = lambda request: 503
    for _ in range(objects._GIVEN_UP_AFTER):
        refused("a.jpg")
    before = bucket.requests["GET a.jpg"]
    refused("a.jpg")
    assert bucket.requests["GET a.jpg"] == before + 1
    bucket.fault = lambda request: 0
    assert bytes(get(address("a.jpg"), 10).data) == b"abc"  # it is back
    bucket.fault = lambda request: 503 if bucket.requests[request] < before + 5 else 0
    assert bytes(get(address("a.jpg"), 10).data) == b"abc"  # and trusted again


def test_a_server_that_is_silent_is_a_reason(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RETRIES", 0)
    bucket.delay = 60
    assert refused("a.jpg").detail == "the server does not answer in time"


def test_credentials_that_are_set_after_an_error_count(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.buckets["photos"]["a.jpg"] = Stored(b"abc")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    with pytest.raises(DatasetError, match=r"s3://photos cannot be listed: the server refuses it .*set AWS_ACCESS_KEY_ID"):
        list(list_objects("s3://photos"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    assert [listed.key for page in list_objects("s3://photos") for listed in page] == ["a.jpg"]


def test_a_listing_of_several_pages_is_complete_and_in_order(bucket: BucketServer) -> None:
    bucket.buckets["photos"] |= {f"{number:05}.jpg": Stored(b"x" * (number % 7)) for number in range(2500)}
    pages = list(list_objects("s3://photos"))
    assert [listed.key for page in pages for listed in page] == [f"{number:05}.jpg" for number in range(2500)]
    assert [listed.size for page in pages for listed in page] == [number % 7 for number in range(2500)]
    assert bucket.requests["LIST "] == 3


@pytest.mark.parametrize("key", ["cats/../b.jpg", "cats//b.jpg", "cats/\n.jpg"])
def test_a_listing_with_a_key_that_is_not_read_names_it(bucket: BucketServer, key: str) -> None:
    bucket.buckets["photos"][key] = Stored(b"")
    with pytest.raises(DatasetError, match="cannot be listed: its key ") as error:
        list(list_objects("s3://photos"))
    assert repr(key) in str(error.value)


def test_keys_that_are_no_utf8_are_a_clear_error(bucket: BucketServer) -> None:
    bucket.buckets["photos"]["\udcff.jpg"] = Stored(b"")
    with pytest.raises(DatasetError, match="keys that are no UTF-8"):
        list(list_objects("s3://photos"))


def test_without_obstore_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_obstore(name: str, *more: Any) -> Any:
        if name.partition(".")[0] == "obstore":
            raise ImportError("no obstore")
        return importlib.__import__(name, *more)

    for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", no_obstore)
    monkeypatch.setitem(sys.modules, "obstore", None)
    for ask in (lambda: get(address("a.jpg"), 10), lambda: list(list_objects("s3://photos"))):
        with pytest.raises(DatasetError, match=r'pip install "imgstream\[cloud\]"'):
            ask()


def test_an_address_is_its_name_and_knows_what_was_listed() -> None:
    one = Address(b"s3://photos/a.jpg", 5, 7)
    again = pickle.loads(pickle.dumps([one]))[0]
    assert (again, again.size, again.modified) == (b"s3://photos/a.jpg", 5, 7)
    assert is_address(one)
    assert absolute(one) == one
    assert not any(map(is_address, ["s3:/photos", b"photos/s3://x", "ftp://photos/a.jpg", "/a"]))


def test_an_address_is_split_into_store_and_key() -> None:
    assert split_address("s3://photos/cats/1.jpg") == ("s3://photos", "cats/1.jpg")
    assert split_address("https://a.org:80/x?y=/z") == ("https://a.org:80", "x?y=/z")
    assert split_address("gs://photos") == ("gs://photos", "")
