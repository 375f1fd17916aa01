"""Nothing in a folder leads out of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_tt.data.contained import check_contained
from ssl_tt.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return tmp_path / "folder"


def test_files_folders_and_links_inside_are_accepted(folder: Path) -> None:
    (folder / "link").symlink_to("inner/file")
    (folder / "to-folder").symlink_to(folder / "inner")
    check_contained(folder)
    (folder.parent / "alias").symlink_to(folder)
    check_contained(folder.parent / "alias")
    check_contained(folder.parent / "not-there-yet")


@pytest.mark.parametrize(
    "target", ["../secret", "../../secret", "{root}/secret", "{root}/missing", "/", "..", "/dev/zero"]
)
@pytest.mark.parametrize("name", ["link", "inner/link"])
def test_a_link_that_leads_out_is_refused(name: str, target: str, folder: Path) -> None:
    (folder / name).symlink_to(target.format(root=folder.parent))
    if name == "inner/link" and target in ("../secret", ".."):
        check_contained(folder)  # which is inside, from there
    else:
        with pytest.raises(InputError, match=f"{name}: a link to "):
            check_contained(folder)


def test_a_chain_of_links_is_followed_to_its_end(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("../folder-of-another/secret")
    with pytest.raises(InputError, match="folder-of-another"):
        check_contained(folder)


def test_a_pipe_is_refused_instead_of_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "inner" / "pipe")
    with pytest.raises(InputError, match="neither file nor folder"):
        check_contained(folder)


def test_a_file_that_another_process_renames_meanwhile_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = os.walk

    def walk_while_files_are_renamed(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for parent, folders, files in walk(folder):
            yield parent, folders, [*files, ".recipe.toml.17.partial"]

    monkeypatch.setattr(os, "walk", walk_while_files_are_renamed)
    check_contained(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: neither file nor folder"):
        check_contained(tmp_path)
