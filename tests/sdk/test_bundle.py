"""A bundle is read whole or refused."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from endcap.sdk import Role, TensorSpec, features
from endcap.sdk import bundle as bundle_format
from endcap.sdk.bundle import MAX_BYTES, Bundle, BundleManifest, GoldenQuery, copy_bundle, write_bundle
from endcap.sdk.errors import BundleRefused, InvalidInput


GOLDEN = GoldenQuery("for-you", ("mug",), (), ("kettle", "lamp"), (0.75, 1e-05), text="tea")
INPUTS = {
    "rows": TensorSpec(("queries", 50), "int64", Role.ITEMS, padding=True),
    "types": TensorSpec(("queries", 50), "int32", Role.CODES, size=4),
}
OUTPUTS = {"scores": TensorSpec(("queries", 3), "float32", Role.VALUES)}
FILES = ["manifest.json", "model.onnx", "model.onnx.data", "vocabulary.json"]


def write(
    parent: Path,
    *,
    model: str = "ease",
    onnx: bytes = b"graph" * 20,
    weights: bytes | None = b"weights" * 10,
    time: int = 1_700_000_000_000,
) -> Path:
    with TemporaryDirectory() as folder:
        if weights is not None:
            Path(folder, "model.onnx.data").write_bytes(weights)
        return write_bundle(
            parent,
            model=model,
            onnx=onnx,
            item_ids=["mug", "kettle", "lämp"],
            created_time=time,
            snapshot="0123456789abcdef",
            parameters={"regularisation": 200.0},
            state={"decay": 0.1, "types": ["view"]},
            metrics={"recall@20": 0.105},
            inputs=INPUTS,
            outputs=OUTPUTS,
            golden_queries=[GOLDEN],
            golden_titles={"mug": "Blue mug"},
            weights_folder=Path(folder),
        )


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write(tmp_path)

    bundle = Bundle.open(folder)

    assert folder == tmp_path / "ease" / bundle.manifest.version
    assert bundle.model_bytes == b"graph" * 20
    assert bundle.weights_folder == folder
    assert (folder / "model.onnx.data").read_bytes() == b"weights" * 10
    assert bundle.vocabulary.ids == ("mug", "kettle", "lämp")
    assert bundle.manifest.model == "ease"
    assert bundle.manifest.features_version == features.VERSION
    assert bundle.manifest.state == {"decay": 0.1, "types": ["view"]}
    assert (bundle.manifest.inputs, bundle.manifest.outputs) == (INPUTS, OUTPUTS)
    assert bundle.manifest.golden_queries == (GOLDEN,)
    assert bundle.manifest.golden_titles == {"mug": "Blue mug"}


def test_a_bundle_whose_weights_are_inside_the_graph_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, weights=None)

    bundle = Bundle.open(folder)

    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "vocabulary.json",
    ]
    assert bundle.weights_folder is None
    assert bundle.size == sum(file.stat().st_size for file in folder.iterdir())


def test_weights_that_the_manifest_does_not_name_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, weights=None)
    (folder / "model.onnx.data").write_bytes(b"weights")

    with pytest.raises(BundleRefused, match="holds exactly"):
        Bundle.open(folder)


def test_versions_differ_by_the_weights(tmp_path: Path) -> None:
    versions = {write(tmp_path, weights=weights).name for weights in (None, b"one", b"two")}

    assert len(versions) == 3


def test_a_bundle_holds_four_files_and_no_leftovers(tmp_path: Path) -> None:
    folder = write(tmp_path)

    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert list(folder.parent.iterdir()) == [folder]


def test_versions_sort_by_time_and_differ_by_content(tmp_path: Path) -> None:
    old, new = write(tmp_path, time=999_999_999_999).name, write(tmp_path).name
    other = write(tmp_path, onnx=b"another").name

    assert old < new
    assert other.partition("-")[0] == new.partition("-")[0]
    assert other != new


@pytest.mark.parametrize("model", ["", "Ease", "../ease", "ease/knn", "1st", "a" * 65, "ease\n"])
def test_a_bad_name_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot name a model"):
        write(tmp_path, model=model)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found(name: str, tmp_path: Path) -> None:
    file = write(tmp_path) / name
    whole = file.read_bytes()

    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1 << position % 8
        file.write_bytes(content)
        with pytest.raises(BundleRefused):
            Bundle.open(file.parent)

    file.write_bytes(whole)
    assert Bundle.open(file.parent)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_or_gone_is_found(name: str, tmp_path: Path) -> None:
    file = write(tmp_path) / name

    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleRefused):
        Bundle.open(file.parent)

    file.unlink()
    with pytest.raises(BundleRefused, match=f"{name} of the bundle cannot be read|holds exactly"):
        Bundle.open(file.parent)


def symbolic_link(file: Path, outside: Path) -> None:
    file.symlink_to(outside)


def hard_link(file: Path, outside: Path) -> None:
    file.hardlink_to(outside)


def pipe(file: Path, outside: Path) -> None:
    os.mkfifo(file)


def directory(file: Path, outside: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize("put", [symbolic_link, hard_link, pipe, directory])
@pytest.mark.parametrize("name", FILES)
def test_anything_but_a_plain_file_is_refused(
    put: Callable[[Path, Path], None], name: str, tmp_path: Path
) -> None:
    """Even when the content behind a link is right."""
    file = write(tmp_path) / name
    outside = tmp_path / "outside"
    file.rename(outside)
    put(file, outside)

    with pytest.raises(BundleRefused):
        Bundle.open(file.parent)


def test_a_file_too_many_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "weights.bin").write_bytes(b"more")

    with pytest.raises(BundleRefused, match=r"a bundle holds exactly .*: copy the bundle again"):
        Bundle.open(folder)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="folder 'nowhere' does not exist: name one"):
        Bundle.open(tmp_path / "nowhere")


def test_what_changes_on_disk_later_does_not_matter(tmp_path: Path) -> None:
    folder = write(tmp_path)
    bundle = Bundle.open(folder)

    (folder / "model.onnx").write_bytes(b"other")

    assert bundle.model_bytes == b"graph" * 20


def rewrite(folder: Path, **changes: Any) -> None:
    """Change a manifest and sign it as the writer would: what is left to find is the change itself."""
    values = json.loads((folder / "manifest.json").read_text()) | changes
    values["version"] = bundle_format._version(values)
    (folder / "manifest.json").write_text(bundle_format._json(values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, "has format 1, this release reads 2: train it again"),
        ({"features_version": 0}, "trained with features version 0"),
        ({"model": "../../etc"}, "not one that Endcap writes"),
        ({"model": 7}, "not one that Endcap writes"),
        ({"state": "text"}, "not one that Endcap writes"),
        ({"snapshot": 7}, "not one that Endcap writes"),
        ({"metrics": {"recall@20": "high"}}, "not one that Endcap writes"),
        ({"metrics": [0.1]}, "not one that Endcap writes"),
        ({"created_time": 10**20}, "not one that Endcap writes"),
        ({"files": {}}, "holds exactly"),
        ({"files": {"../secret": "0"}}, "holds exactly"),
        ({"files": ["model.onnx", "vocabulary.json"]}, "not one that Endcap writes"),
        ({"files": dict.fromkeys(FILES[1:])}, "was altered"),
        ({"files": {"model.onnx": None, "vocabulary.json": None}}, "holds exactly"),
        ({"golden_queries": None}, "cannot be read"),
        ({"golden_titles": {"mug": 7}}, "not one that Endcap writes"),
        ({"golden_queries": [{}]}, "cannot be read"),
        ({"golden_queries": ["text"]}, "cannot be read"),
        ({"inputs": None}, "cannot be read"),
        ({"inputs": {"rows": {}}}, "cannot be read"),
        ({"outputs": {"scores": asdict(OUTPUTS["scores"]) | {"dtype": "object"}}}, "cannot be read"),
        ({"unheard_of": 1}, "cannot be read"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write(tmp_path)
    rewrite(folder, **changes)

    with pytest.raises(BundleRefused, match=message):
        Bundle.open(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "<html>", "[" * 100_000])
def test_a_text_that_is_not_a_manifest_is_refused(text: str) -> None:
    with pytest.raises(BundleRefused, match="cannot be read"):
        BundleManifest.from_json(text)


def test_another_spelling_of_the_same_manifest_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(values))

    with pytest.raises(BundleRefused, match="manifest was altered"):
        Bundle.open(folder)


@pytest.mark.parametrize("content", ["{}", '["mug", "mug"]', "[1]", "mug", '"mug"'])
def test_a_file_that_is_not_a_vocabulary_is_refused(content: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "vocabulary.json").write_text(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    rewrite(folder, files=files | {"vocabulary.json": hashlib.sha256(content.encode()).hexdigest()})

    with pytest.raises(BundleRefused, match="vocabulary"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_too_large_is_refused_before_it_is_read(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    os.truncate(folder / name, MAX_BYTES[name] + 1)

    with pytest.raises(BundleRefused, match="larger than"):
        Bundle.open(folder)


def test_a_bundle_tells_its_size_and_the_checksum_of_its_manifest(tmp_path: Path) -> None:
    folder = write(tmp_path)

    bundle = Bundle.open(folder)

    assert bundle.size == sum(file.stat().st_size for file in folder.iterdir())
    assert bundle.checksum == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_a_copy_is_the_bundle_and_no_more(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "weights.bin").write_bytes(b"more")
    copy = tmp_path / "copy"
    copy.mkdir()

    copy_bundle(folder, copy)

    assert Bundle.open(copy).manifest.version == folder.name


@pytest.mark.parametrize("put", [symbolic_link, hard_link, pipe, directory])
@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
def test_links_are_not_copied(put: Callable[[Path, Path], None], name: str, tmp_path: Path) -> None:
    file = write(tmp_path) / name
    file.rename(tmp_path / "outside")
    put(file, tmp_path / "outside")
    (tmp_path / "copy").mkdir()

    with pytest.raises(BundleRefused):
        copy_bundle(file.parent, tmp_path / "copy")

    assert not list((tmp_path / "copy").glob("manifest.json"))
