from __future__ import annotations

import pytest

from imgstream.wording import either, innermost, quantity


@pytest.mark.parametrize(("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (2000, "2,000 images")])
def test_a_noun_goes_with_its_number(count: int, text: str) -> None:
    assert quantity(count, "image") == text


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert (quantity(1, "class", "classes"), quantity(3, "class", "classes")) == ("1 class", "3 classes")


def test_the_last_choice_is_joined_with_or() -> None:
    assert (either(["a"]), either(["a", "b"]), either(["a", "b", "c"])) == ("a", "a or b", "a, b or c")


def test_of_errors_of_keras_the_innermost_is_told_on_one_line() -> None:
    inner = "The `factor` argument should be a number\nin the range [-1, 1]"
    wrapped = (
        f"<class 'X'> could not be deserialized properly.\n\nconfig={{'a': 1}}.\n\nException encountered: {inner}\n\nconfig={{'b': 2}}"
    )
    assert innermost(TypeError(wrapped)) == "The `factor` argument should be a number in the range [-1, 1]"
    assert innermost(ValueError("plain")) == "plain"
    assert innermost(KeyError()) == "KeyError"
