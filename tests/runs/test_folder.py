from pathlib import Path

import pytest

from imgstream.errors import RunError
from imgstream.runs.folder import RunFolder


@pytest.mark.parametrize("out", ["photos", "photos/cats", "photos/new/run", "photos/../photos/run"])
def test_a_new_run_does_not_lie_in_the_folder_of_its_images(tmp_path: Path, out: str) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    with pytest.raises(RunError, match="lies in the folder of images"):
        RunFolder(tmp_path / out).check_new(tmp_path / "photos")


def test_a_new_run_lies_in_no_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(RunError, match=r"is no run folder: it holds 'thesis\.txt'"):
        RunFolder(tmp_path).check_new(None)


@pytest.mark.parametrize("left", [(), ("settings.json", "notes.txt"), ("checkpoints",)])
def test_a_new_run_may_lie_in_an_empty_folder_and_where_one_began_before(tmp_path: Path, left: tuple[str, ...]) -> None:
    for name in left:
        (tmp_path / name).touch()
    RunFolder(tmp_path).check_new(tmp_path / "elsewhere")
    RunFolder(tmp_path / "not there").check_new(tmp_path.parent / "photos")


def test_a_folder_that_is_not_there_is_told_apart_from_one_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run folder"):
        RunFolder(tmp_path / "petz").state()
    with pytest.raises(RunError, match=r"is no run folder: it has no run\.json"):
        RunFolder(tmp_path).state()
