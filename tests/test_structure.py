import pathlib

import pytest

import imgstream

PACKAGE = pathlib.Path(imgstream.__file__).parent
REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize("top", [PACKAGE, REPOSITORY / "bench", REPOSITORY / "tests", REPOSITORY / "tools"], ids=lambda top: top.name)
def test_no_folder_holds_more_than_a_dozen_files_of_python(top: pathlib.Path) -> None:
    folders = [top, *(path for path in top.rglob("*") if path.is_dir())]
    counted = {path.relative_to(top).as_posix(): sum(file.name != "__init__.py" for file in path.glob("*.py")) for path in folders}
    assert len(counted) > 1
    assert {name: count for name, count in counted.items() if count > 12} == {}


def test_every_folder_of_the_package_says_what_its_files_are_for() -> None:
    for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py")))]:
        said = (folder / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
        if folder == PACKAGE or folder.parent.name == "cli":  # the road; commands, named as their files
            continue
        for file in folder.glob("*.py"):
            assert file.name == "__init__.py" or file.name in said, f"{file.name} is not in the docstring of {folder.name}/__init__.py"


def test_only_public_names_are_offered_by_the_package() -> None:
    assert dir(imgstream) == sorted(imgstream.__all__)
