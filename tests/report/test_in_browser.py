"""The page as a person uses it, in Chromium. These tests need `pip install imgstream[browser]` and a Chromium on the machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.evaluation.drift import ProfileBuilder
from imgstream.report.charts.quality import PALETTE
from imgstream.report.measure import GOOD, ROW, Measurement
from imgstream.report.page import render
from imgstream.report.sections.projection import projection

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need imgstream[browser]")
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]

STRANGE = 'a, "b" <b>&\rc.jpg'


@pytest.fixture(scope="module")
def photos(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of which two have the wrong label, one of them under a name that CSV and HTML would change."""
    folder = tmp_path_factory.mktemp("browser") / "photos"
    shutil.copytree(two_classes, folder)
    (folder / "dark" / "00.jpg").rename(folder / "light" / STRANGE)
    (folder / "light" / "05.jpg").rename(folder / "dark" / "swapped.jpg")
    return folder


@pytest.fixture(scope="module")
def report(trained: Path, photos: Path) -> Path:
    return Path(ims.load_run(trained).report(photos, photos.parent / "page.html"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The open page, which has logged no error and asked for nothing when the test ends."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened, faults = context.new_page(), list[str]()
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: faults.append(request.url) if request.url[:5] not in ("data:", "blob:") else None)
    opened.goto(report.as_uri())
    yield opened
    assert [fault for fault in faults if fault != report.as_uri()] == []
    context.close()


def mark(page: Any, path: str, button: str) -> None:
    page.locator(f'#images .tile[data-path="{path}"] .frame').first.click()
    page.get_by_role("button", name=button).click()
    page.keyboard.press("Escape")


def a_point(canvas: Any) -> tuple[float, float]:
    """Where something is drawn on the map: x and y from its corner."""
    x, y = canvas.evaluate("""each => {
      const { width, height, clientWidth } = each, data = each.getContext("2d").getImageData(0, 0, width, height).data;
      let at = 4 * Math.floor(width * height / 3) + 3;
      while (data[at % data.length] < 100) at += 4;
      const pixel = Math.floor(at % data.length / 4);
      return [pixel % width / width * clientWidth, Math.floor(pixel / width) / width * clientWidth];
    }""")
    return x, y


def drawing(canvas: Any) -> str:
    """What the map shows, once what was asked for is drawn."""
    found: str = canvas.evaluate("""async each => {
      for (let k = 0; k < 3; k++) await new Promise(requestAnimationFrame);
      return each.toDataURL();
    }""")
    return found


def test_marks_become_a_file_that_puts_the_labels_right(page: Any, photos: Path, tmp_path: Path) -> None:
    mark(page, "dark/swapped.jpg", "Correct the label")
    page.locator("#images .tile[data-exact] .frame").first.click()
    page.get_by_role("button", name="Correct the label").click()
    page.keyboard.press("Escape")
    mark(page, "light/01.jpg", "Exclude the image")
    assert page.locator(".marks").inner_text().split()[0] == "3"
    page.reload()  # the marks stay
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download corrections.csv").click()
    file = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(file)
    assert file.name == "corrections.csv"
    index = ims.scan(photos, corrections=file)
    labels = {index.relative_bytes(i).decode(): index.class_names[index.labels[i]] for i in range(len(index))}
    assert len(labels) == 39
    assert {path: labels[path] for path in ("dark/swapped.jpg", f"light/{STRANGE}")} == {
        "dark/swapped.jpg": "light",
        f"light/{STRANGE}": "dark",
    }
    assert "light/01.jpg" not in labels


def test_every_control_does_what_it_says(page: Any) -> None:
    page.locator("#threshold").fill("100")
    assert "No image has so high a score" in page.locator(".slider").inner_text()
    page.locator(".matrix a").first.click()
    assert page.locator(".cells details[open]").count() == 1
    looked = page.locator(".looked").first
    page.get_by_label("Show where the model looked").check()
    playwright.expect(looked).to_have_css("opacity", "1")
    assert looked.evaluate("each => each.complete && each.naturalWidth > 0")
    page.locator(".class-filter select").select_option("dark")
    shown = page.locator("#images .tile:visible")
    assert {shown.nth(i).get_attribute("data-label") for i in range(shown.count())} <= {"dark", "light"}
    page.get_by_role("button", name="Dark", exact=True).click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("#map-colour").select_option("right")
    page.get_by_label("mistakes only").check()
    page.locator("#map-canvas").focus()
    page.keyboard.press("ArrowRight")
    assert "labelled" in page.locator("#map-card").inner_text()


def test_the_map_is_zoomed_moved_and_coloured(page: Any) -> None:
    canvas, card = page.locator("#map-canvas"), page.locator("#map-card")
    canvas.scroll_into_view_if_needed()  # the mouse goes to places of the window
    drawn = [drawing(canvas)]
    box, (x, y) = canvas.bounding_box(), a_point(canvas)
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert "labelled" in card.inner_text()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function("() => document.querySelector('#map-card').hidden")
    drawn.append(drawing(canvas))
    page.mouse.down()
    page.mouse.move(box["x"] + x + 40, box["y"] + y + 30, steps=3)
    page.mouse.up()
    drawn.append(drawing(canvas))
    for name in ("Zoom in", "Zoom out"):
        page.get_by_role("button", name=name).click()
    page.locator("#map-colour").select_option("right")
    assert page.locator("#map-key").inner_text().split() == ["right", "wrong"]
    assert len(set(drawn[:3])) == 3
    page.get_by_role("button", name="Whole map").click()
    page.locator("#map-colour").select_option("label")
    assert page.locator("#map-key").inner_text().split() == ["dark", "light"]
    page.mouse.move(0, 0)
    assert card.is_hidden()
    assert drawing(canvas) == drawn[0]


def test_a_map_of_very_many_images_is_drawn_and_says_what_is_pointed_at(browser: Any, tmp_path: Path) -> None:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    n = 8_000
    rows = np.zeros(n, ROW)
    rows["label"], rows["state"], rows["score"] = np.arange(n) % 4, GOOD, 0.5
    rows["predicted"] = np.where(np.arange(n) < 400, (rows["label"] + 1) % 4, rows["label"])
    noise = np.random.default_rng(0).normal(0, 0.1, (n, 2)).astype(np.float32)
    measured = Measurement(
        index=ims.ImageIndex.from_paths([f"{i}.jpg" for i in range(n)]),
        class_names=["a", "b", "c", "d"],
        rows=rows,
        features=corners[rows["label"]] + noise,
        feature_rows=np.arange(n),
        thumbnails=[],
        profile=ProfileBuilder().profile(),
        other_classes=[],
    )
    values: dict[str, Any] = dict.fromkeys(("data", "training", "quality", "labels", "kinds", "cells", "prediction", "measured", "run"))
    values |= {"name": "many", "palette": PALETTE, "classes": [], "root": "", "notes": [], "measured_on": "", "made": "", "version": ""}
    (tmp_path / "page.html").write_text(
        render(**values, several=False, seconds=0.0, map=projection(measured, "pca", np.arange(10))), encoding="utf-8"
    )
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())
    canvas = page.locator("#map-canvas")
    page.wait_for_function("() => document.querySelector('#map-canvas').width > 300")
    counted = canvas.evaluate("""each => {
      const found = new Map();
      const data = new Uint32Array(each.getContext("2d").getImageData(0, 0, each.width, each.height).data.buffer);
      for (const value of data) if (value) found.set(value, (found.get(value) || 0) + 1);
      return [...found.entries()].sort((a, b) => b[1] - a[1]).map(([value]) => value);
    }""")
    assert set(counted) == {0xFF000000 | int(colour[5:7] + colour[3:5] + colour[1:3], 16) for colour in PALETTE[:4]}
    x, y = a_point(canvas)
    canvas.hover(position={"x": x, "y": y})
    said = page.locator("#map-card").inner_text()
    number = int(said.split(".jpg")[0])
    assert f"labelled {'abcd'[number % 4]}" in said
    page.locator("#map-colour").select_option("trained")
    assert page.locator("#map-key").inner_text().split("\n") == ["trained on", "new"]
    page.close()


def test_the_viewer_goes_from_image_to_image_by_keyboard(page: Any) -> None:
    page.locator("#random-right .frame").first.focus()
    page.keyboard.press("Enter")
    first = page.locator("#viewer-title").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-title").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#viewer-title").inner_text() == first
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "frame"


def test_a_narrow_page_does_not_scroll_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_page_is_readable_without_scripts(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    text = page.locator("main").inner_text()
    assert "Right on 95.0 % of 40 images" in text
    assert page.locator("#map-picture").is_visible()
    assert not page.locator(".slider").is_visible()
    assert not page.locator(".theme").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, report: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the browser tests need imgstream[browser]")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(report.as_uri())
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []
    context.close()
