"""A folder appears whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from endcap.sdk.publish import publish


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"

    with publish(folder) as staging:
        (staging / "file").write_text("whole")
        assert not folder.exists()

    assert (folder / "file").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), publish(tmp_path / "folder") as staging:
        (staging / "file").write_text("half")
        raise error

    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("first")

    with pytest.raises(OSError, match="not empty"), publish(folder) as staging:
        (staging / "file").write_text("second")

    assert (folder / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_others_may_read_what_is_published_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with publish(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755
