"""The bundle: a trained model as a folder. Immutable, checksummed, and free of user ids.

::

    manifest.json      what the bundle is and the SHA-256 of every other file; written last
    model.onnx         the graph
    model.onnx.data    its large weights, if it has any, as ONNX external data; memory maps them
    vocabulary.json    the item ids behind the model's rows, a JSON array

Every byte of a bundle is checked, or the bundle is refused. Nothing in it is ever unpickled, and no name or
link leads out of it.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from endcap.sdk import features
from endcap.sdk.errors import BundleRefused, InvalidInput
from endcap.sdk.model import TensorSpec
from endcap.sdk.publish import publish
from endcap.sdk.vocabulary import Vocabulary


FORMAT_VERSION = 2
MODEL = "model.onnx"
WEIGHTS = "model.onnx.data"
VOCABULARY = "vocabulary.json"
MANIFEST = "manifest.json"
MAX_BYTES: Mapping[str, int] = MappingProxyType(
    {MODEL: 2**31, WEIGHTS: 2**34, VOCABULARY: 2**28, MANIFEST: 2**26}
)
"""The most bytes that a file of a bundle may have; a larger one is refused before it is read."""

_FILES = {MODEL, VOCABULARY}
_COPIED_BYTES = 1 << 20
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERSION = re.compile(r"[0-9]{14}-[0-9a-f]{16}")
_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    InvalidInput,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)
"""The errors that values of the wrong form lead to."""


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A query with the answer that the trainer saw, by item id: it finds rows that were mixed up."""

    task: str
    history: tuple[str, ...]

    items: tuple[str, ...]
    """The item of the page, the cart, or the only items that may be shown, as the task has it."""

    expected: tuple[str, ...]
    """The items of the highest scores, best first."""

    scores: tuple[float, ...]
    """Their scores."""

    text: str = ""
    """The text that is searched for."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read one from a manifest's JSON value."""
        return cls(
            task=str(values["task"]),
            history=tuple(map(str, values["history"])),
            items=tuple(map(str, values["items"])),
            expected=tuple(map(str, values["expected"])),
            scores=tuple(map(float, values["scores"])),
            text=str(values["text"]),
        )


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """The content of ``manifest.json``."""

    format_version: int

    features_version: int
    """``features.VERSION`` at training time."""

    model: str
    """The model's name, which is that of the strategy that runs it."""

    version: str
    """Names this bundle among those of its model: time of training and a digest of all the rest."""

    created_time: int
    """Unix milliseconds."""

    snapshot: str
    """Fingerprint of the snapshot it was trained on."""

    parameters: Mapping[str, Any]
    """The trainer's parameters."""

    state: Mapping[str, Any]
    """JSON values that the strategy needs beside the graph."""

    metrics: Mapping[str, float]
    """The metrics of the evaluation, by name, such as ``recall@20``."""

    inputs: Mapping[str, TensorSpec]
    """The inputs of the graph, by name."""

    outputs: Mapping[str, TensorSpec]
    """The outputs of the graph, by name."""

    golden_queries: tuple[GoldenQuery, ...]

    golden_titles: Mapping[str, str]
    """Titles of some items, by id: those that the golden queries are asked with."""

    files: Mapping[str, str]
    """SHA-256 of each file, in hexadecimal."""

    compared: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Results of other models on the same days: of ``popular``, and of bundles that served when
    this one was trained, by ``MODEL@VERSION``. Empty where nothing was measured."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a manifest.

        Raises:
            BundleRefused: The text is not a manifest of this format, or was altered.
        """
        try:
            values = json.loads(text)
            if values["format_version"] != FORMAT_VERSION:
                raise BundleRefused(
                    f"the bundle has format {values['format_version']}, this release reads {FORMAT_VERSION}:"
                    " train it again"
                )
            altered = text != _json(values) or values["version"] != _version(values)
            golden = tuple(GoldenQuery.from_json(query) for query in values.pop("golden_queries"))
            inputs, outputs = (_specs(values.pop(tensors)) for tensors in ("inputs", "outputs"))
            manifest = cls(golden_queries=golden, inputs=inputs, outputs=outputs, **values)
        except _UNREADABLE as error:
            raise BundleRefused("the bundle's manifest cannot be read: copy the bundle again") from error
        if altered:
            raise BundleRefused("the bundle's manifest was altered: copy the bundle again")
        if not _is_sound(manifest):
            raise BundleRefused("the bundle's manifest is not one that Endcap writes: train it again")
        return manifest


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle folder, opened and checked."""

    folder: Path
    manifest: BundleManifest
    vocabulary: Vocabulary

    model_bytes: bytes
    """``model.onnx`` as it was when its checksum was taken, so that later changes on disk do not matter."""

    weights_folder: Path | None
    """The folder of the large weights; None where all weights are inside the graph. The runtime maps their
    file, which may be replaced or deleted later, and must not be written to."""

    checksum: str
    """SHA-256 of the manifest, in hexadecimal, which holds those of all other files."""

    size: int
    """Bytes of all files."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a bundle and check every byte of it.

        Raises:
            BundleRefused: The folder is missing; a file is missing, altered, too large, a link, or not part
                of a bundle; or the bundle was made with another version of the format or of the features.
        """
        if not folder.is_dir():
            raise BundleRefused(f"folder {folder.name!r} does not exist: name one that 'endcap train' wrote")
        written = _read(folder, MANIFEST)
        manifest = BundleManifest.from_json(written.decode("utf-8", "replace"))
        if manifest.features_version != features.VERSION:
            raise BundleRefused(
                f"the bundle was trained with features version {manifest.features_version}, this release"
                f" computes {features.VERSION}: train it again"
            )
        found = {path.name for path in islice(folder.iterdir(), len(MAX_BYTES) + 1)}
        if manifest.files.keys() - {WEIGHTS} != _FILES or found != {MANIFEST, *manifest.files}:
            raise BundleRefused(
                f"a bundle holds exactly {', '.join(sorted(_FILES))}, its manifest and the weights that the"
                " manifest names: copy the bundle again"
            )
        contents = {name: _read(folder, name) for name in _FILES}
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        size = len(written) + sum(map(len, contents.values()))
        if WEIGHTS in manifest.files:
            with _open(folder, WEIGHTS) as stream:
                checksums[WEIGHTS] = hashlib.file_digest(stream, "sha256").hexdigest()
                size += stream.tell()
        for name, checksum in manifest.files.items():
            if checksums[name] != checksum:
                raise BundleRefused(f"{name} of the bundle was altered: copy the bundle again")
        return cls(
            folder,
            manifest,
            _vocabulary(contents[VOCABULARY]),
            model_bytes=contents[MODEL],
            weights_folder=folder if WEIGHTS in manifest.files else None,
            checksum=hashlib.sha256(written).hexdigest(),
            size=size,
        )


def write_bundle(
    parent: Path,
    *,
    model: str,
    onnx: bytes,
    item_ids: Sequence[str],
    created_time: int,
    snapshot: str,
    parameters: Mapping[str, Any],
    state: Mapping[str, Any],
    metrics: Mapping[str, float],
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    golden_queries: Sequence[GoldenQuery],
    golden_titles: Mapping[str, str] = MappingProxyType({}),
    compared: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    weights_folder: Path | None = None,
) -> Path:
    """Write a bundle to ``parent/model/version``; it appears whole or not at all.

    Args:
        parent: The folder of all bundles.
        model: The model's name.
        onnx: The graph, with those weights that are not in ``weights_folder``.
        item_ids: The ids behind the model's rows.
        created_time: Unix milliseconds.
        snapshot: Fingerprint of the snapshot.
        parameters: The trainer's parameters.
        state: What the strategy needs beside the graph.
        metrics: What evaluation measured.
        inputs: The inputs of the graph, by name.
        outputs: The outputs of the graph, by name.
        golden_queries: Queries with their expected answers.
        golden_titles: The titles of some items, by id, that the queries were asked with.
        compared: Results of other models on the same days, by name.
        weights_folder: A folder whose file ``WEIGHTS``, if there is one, is moved into the bundle.

    Returns:
        The bundle's folder.

    Raises:
        InvalidInput: The model's name is invalid.
    """
    if not _is_name(model):
        raise InvalidInput(f"{model!r} cannot name a model: use lower-case letters, digits and _")
    contents = {MODEL: onnx, VOCABULARY: json.dumps(list(item_ids), ensure_ascii=False).encode()}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    if weights_folder is not None and (weights_folder / WEIGHTS).exists():
        with (weights_folder / WEIGHTS).open("rb") as stream:
            files[WEIGHTS] = hashlib.file_digest(stream, "sha256").hexdigest()
    manifest = BundleManifest(
        format_version=FORMAT_VERSION,
        features_version=features.VERSION,
        model=model,
        version="",
        created_time=created_time,
        snapshot=snapshot,
        parameters=parameters,
        state=state,
        metrics=metrics,
        inputs=dict(inputs),
        outputs=dict(outputs),
        golden_queries=tuple(golden_queries),
        golden_titles=dict(golden_titles),
        files=files,
        compared={name: dict(measured) for name, measured in compared.items()},
    )
    values = json.loads(json.dumps(asdict(manifest)))
    version = _version(values)
    folder = parent / model / version
    with publish(folder) as staging:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        if weights_folder is not None and WEIGHTS in files:
            shutil.move(weights_folder / WEIGHTS, staging / WEIGHTS)
        (staging / MANIFEST).write_text(_json({**values, "version": version}), encoding="utf-8")
    return folder


def copy_bundle(source: Path, target: Path) -> None:
    """Copy the files of a bundle into a folder that exists; links are refused, other files left behind.

    Open the copy rather than the original, which may have changed meanwhile.

    Raises:
        BundleRefused: A file is missing, too large, or a link.
    """
    weights = (WEIGHTS,) if os.path.lexists(source / WEIGHTS) else ()
    for name in (MODEL, *weights, VOCABULARY, MANIFEST):
        with _open(source, name) as original, (target / name).open("xb") as copy:
            shutil.copyfileobj(original, copy, _COPIED_BYTES)
            copy.flush()
            os.fsync(copy.fileno())


def _json(values: Mapping[str, Any]) -> str:
    """Return a manifest's text; no other spelling of the same values is read, so any flipped bit shows."""
    return json.dumps(values, indent=2, ensure_ascii=False)


def _version(values: Mapping[str, Any]) -> str:
    content = json.dumps({**values, "version": ""}, sort_keys=True)
    return f"{values['created_time']:014d}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _is_sound(manifest: BundleManifest) -> bool:
    """Check the values that others rely on; dataclasses take what they are given."""
    return (
        _is_name(manifest.model)
        and _VERSION.fullmatch(manifest.version) is not None
        and isinstance(manifest.snapshot, str)
        and all(isinstance(value, dict) for value in (manifest.parameters, manifest.state, manifest.files))
        and isinstance(manifest.compared, dict)
        and isinstance(manifest.golden_titles, dict)
        and all(isinstance(title, str) for title in manifest.golden_titles.values())
        and all(map(_is_measured, (manifest.metrics, *manifest.compared.values())))
    )


def _specs(values: Mapping[str, Mapping[str, Any]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec.from_json(spec) for name, spec in values.items()}


def _is_measured(metrics: object) -> bool:
    return isinstance(metrics, dict) and all(isinstance(value, int | float) for value in metrics.values())


def _is_name(model: object) -> bool:
    return isinstance(model, str) and _NAME.fullmatch(model) is not None


def _read(folder: Path, name: str) -> bytes:
    with _open(folder, name) as stream:
        return stream.read()


@contextmanager
def _open(folder: Path, name: str) -> Iterator[BufferedReader]:
    """Open a plain file of the bundle; refuse links, which could lead out of it."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BundleRefused(f"{name} of the bundle cannot be read: copy the bundle again") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise BundleRefused(f"{name} of the bundle is a link or not a plain file: copy the bundle")
        if status.st_size > MAX_BYTES[name]:
            raise BundleRefused(
                f"{name} of the bundle is larger than {MAX_BYTES[name]:,} bytes: train a smaller one"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(descriptor)


def _vocabulary(content: bytes) -> Vocabulary:
    try:
        item_ids = json.loads(content)
        if not isinstance(item_ids, list) or not all(isinstance(item_id, str) for item_id in item_ids):
            raise BundleRefused("the bundle's vocabulary is not a list of item ids: train it again")
        return Vocabulary(item_ids)
    except ValueError as error:
        raise BundleRefused("the bundle's vocabulary cannot be read: train it again") from error
