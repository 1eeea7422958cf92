from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import NoImagesError, RunError


def texts(figure: object) -> list[str]:
    """All text of a figure's axes: titles, ticks, and what is written in them."""
    found = []
    for axes in figure.axes:  # type: ignore[attr-defined]
        found += [axes.get_title(), axes.get_xlabel(), *(text.get_text() for text in axes.texts)]
        found += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return [text for text in found if text]


@pytest.fixture(scope="module")
def holdout(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """two_classes with one image of dark/ under light/, and a class that has a formula for a name."""
    folder = tmp_path_factory.mktemp("plots") / "holdout"
    shutil.copytree(two_classes, folder)
    (folder / "dark" / "00.jpg").rename(folder / "light" / "moved.jpg")
    return folder


def test_the_history_has_a_point_for_each_validation(trained: Path) -> None:
    figure = ims.load_run(trained).plot_history()
    rows = (trained / "history.csv").read_text().splitlines()[1:]
    assert [len(line.get_xdata()) for axes in figure.axes for line in axes.lines] == [len(rows)] * 4
    assert figure._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]


def test_figures_show_what_the_run_makes_of_images(trained: Path, holdout: Path) -> None:
    run, index = ims.load_run(trained), ims.scan(holdout)
    assert {"19", "20", "1", "dark", "light"} <= set(texts(run.plot_confusion(index)))
    first, second = run.top_losses(2, index).axes
    assert first.get_title().startswith("light → dark\nloss ")
    assert "→" in second.get_title()
    crosses = [len(found.get_offsets()) for found in run.plot_map(index).axes[0].collections]
    assert crosses[:2] == [39, 1]


def test_images_that_are_gone_are_an_error_that_says_so(trained: Path, tmp_path: Path) -> None:
    gone = ims.ImageIndex.from_paths(["a.jpg"], root=tmp_path)
    with pytest.raises(RunError, match=r"none of the 1 images .* \(1 missing\)"):
        ims.load_run(trained).plot_confusion(gone)
    with pytest.raises(NoImagesError, match="could be read"):
        gone.show()


def test_an_index_and_a_stream_show_themselves(two_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(two_classes, tmp_path / "photos")
    (tmp_path / "photos" / "dark").rename(tmp_path / "photos" / "$x^2<b>")
    index = ims.scan(tmp_path / "photos")
    titles = [axes.get_title() for axes in index.show(5, seed=3).axes]
    assert len(titles) == 5
    assert {title.split("\n")[0] for title in titles} <= {"$x^2<b>", "light"}
    index.show(5, seed=3)._repr_png_()  # type: ignore[attr-defined]  # a formula that is none would fail here
    stream = ims.Stream(index, ims.SampleSpec(size=(24, 24), scale="imagenet"), augment="light", batch_size=4)
    figure = stream.show(3)
    first = next(stream.traced_batches()).images[0]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    shown = figure.axes[0].images[0].get_array()
    assert np.abs(np.asarray(shown, np.float64) - 255 * (first * deviation + mean)).max() <= 1


def test_notebooks_show_tables_whose_names_are_text(trained: Path, tmp_path: Path, two_classes: Path) -> None:
    shutil.copytree(two_classes / "dark", tmp_path / "photos" / "<b>dark")
    index = ims.scan(tmp_path / "photos")
    assert '<th style="text-align:left">&lt;b&gt;dark</th><td style="text-align:left">20</td>' in index._repr_html_()
    assert "5 of 4" in ims.Stream(index, batch_size=4)._repr_html_()
    run = ims.load_run(trained)
    assert "dark, light" in run._repr_html_()
    assert "100.00 % of 40 images" in run.evaluate(two_classes)._repr_html_()
