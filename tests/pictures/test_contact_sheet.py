from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imgstream.pictures.contact_sheet import contact_sheet


def filled(level: tuple[int, ...], height: int = 100, width: int = 120) -> np.ndarray:
    return np.full((height, width, len(level)), level, np.uint8)


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=-1).sum())


def test_every_sample_is_shown_pixel_for_pixel() -> None:
    draws = [filled((0, 20 * i, 255)) for i in range(8)]
    sheet = contact_sheet([(filled((200, 0, 0)), draws, "a.jpg"), (filled((0, 200, 0)), draws, "b.jpg")], "two")
    assert count(sheet, (200, 0, 0)) == count(sheet, (0, 200, 0)) == 100 * 120
    assert [count(sheet, (0, 20 * i, 255)) for i in range(8)] == [2 * 100 * 120] * 8


def test_the_plain_sample_is_left_of_its_draws_and_rows_keep_their_order() -> None:
    rows = [(filled((200, i, 0)), [filled((0, i, 200))], f"{i}.jpg") for i in range(3)]
    pixels = np.asarray(contact_sheet(rows, "order"))
    tops = []
    for i in range(3):
        plain_y, plain_x = np.argwhere((pixels == (200, i, 0)).all(-1))[0]
        draw_y, draw_x = np.argwhere((pixels == (0, i, 200)).all(-1))[0]
        assert plain_x < draw_x
        assert plain_y == draw_y
        tops.append(int(plain_y))
    assert tops == sorted(tops)


def test_grey_samples_are_shown_grey() -> None:
    sheet = contact_sheet([(filled((77,)), [filled((177,))] * 8, "grey.png")], "grey")
    assert sheet.mode == "RGB"
    assert count(sheet, (77, 77, 77)) >= 100 * 120
    assert count(sheet, (177, 177, 177)) >= 8 * 100 * 120


def test_tiny_samples_are_enlarged_by_a_whole_factor() -> None:
    sheet = contact_sheet([(filled((200, 0, 0), 32, 48), [], "tiny.png")], "tiny")
    assert count(sheet, (200, 0, 0)) == (2 * 32) * (2 * 48)


def test_huge_samples_are_reduced_to_fit_a_page() -> None:
    sheet = contact_sheet([(filled((200, 0, 0), 640, 1280), [], "huge.png")], "huge")
    assert count(sheet, (200, 0, 0)) == 160 * 320


def test_the_samples_are_left_as_they_are() -> None:
    sample = filled((1, 2, 3), 640, 640)
    contact_sheet([(sample, [sample], "a")], "t")
    assert (sample == (1, 2, 3)).all()


@pytest.mark.parametrize("name", ["two\nlines\r\t", "\x1b[31mred", "\udcff", "café 猫 \u202e", "", "x" * 4000, "[bold]"])
def test_any_name_and_title_can_be_drawn_without_changing_the_page(name: str) -> None:
    rows = [(filled((200, 0, 0)), [filled((0, 0, 200))] * 8, name)]
    sheet = contact_sheet(rows, name)
    assert sheet.size == contact_sheet([(*rows[0][:2], "a.jpg")], "plain title").size
    assert count(sheet, (200, 0, 0)) == 100 * 120


def test_a_caption_differs_with_the_name_and_a_long_one_keeps_its_end() -> None:
    def drawn(name: str) -> bytes:
        return contact_sheet([(filled((200, 0, 0)), [], name)], "t").tobytes()

    assert drawn("a.jpg") != drawn("b.jpg")
    assert drawn("d/" * 500 + "a.jpg") != drawn("d/" * 500 + "b.jpg")
    assert drawn("x/" + "d/" * 500 + "a.jpg") == drawn("y/" + "d/" * 500 + "a.jpg")


def test_a_sheet_of_nothing_is_a_page_with_a_title() -> None:
    sheet = contact_sheet([], "nothing")
    assert count(sheet, (0, 0, 0)) > 0
