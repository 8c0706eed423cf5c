"""The ``Model`` protocol over onnxruntime."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from endcap.runtime.memory import limit_memory
from endcap.runtime.watchdog import Watchdog
from endcap.sdk import Tensors, Vocabulary
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused, DeadlineExceeded, EndcapError, InvalidInput


_TYPES: Mapping[str, type[np.generic]] = MappingProxyType(
    {
        "tensor(bool)": np.bool_,
        "tensor(double)": np.float64,
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(int32)": np.int32,
        "tensor(int64)": np.int64,
    }
)
_SILENT = 4
_watchdog = Watchdog()


@dataclass(frozen=True, slots=True)
class _Input:
    dtype: np.dtype[Any]

    shape: tuple[int | str | None, ...]
    """A size where the graph fixes one, a name or None where any size will do."""

    rows: bool
    """Whether the integers are item rows."""


class OnnxModel:
    """An ONNX graph with its vocabulary. Safe to call from several threads.

    The graph comes as bytes, never as a path, and may refer to weights in one folder, so that it cannot read
    other files; it runs on the CPU, with the operators that onnxruntime itself brings. Weights in the folder
    are mapped, which takes milliseconds and no memory of the process's own; weights in the graph are copied,
    and no other Python thread runs meanwhile.
    """

    def __init__(
        self,
        model_bytes: bytes,
        *,
        name: str,
        version: str,
        vocabulary: Vocabulary,
        state: Mapping[str, Any] = MappingProxyType({}),
        weights_folder: Path | None = None,
        threads: int = 1,
        run_seconds: float = 10.0,
    ) -> None:
        """Load a graph.

        Args:
            model_bytes: The graph.
            name: The model's name in its shop.
            version: The bundle's version.
            vocabulary: The item ids behind the graph's rows.
            state: Values that the trainer recorded for the strategy.
            weights_folder: The folder of the weights outside the graph; None if there are none.
            threads: Threads that one run may use.
            run_seconds: Time that one run may take.

        Raises:
            BundleRefused: The runtime cannot load the graph.
        """
        self.name = name
        self.version = version
        self.vocabulary = vocabulary
        self.state = state
        self._run_seconds = run_seconds
        try:
            self._session = onnxruntime.InferenceSession(
                model_bytes,
                _session_options(threads, weights_folder),
                providers=["CPUExecutionProvider"],
                enable_fallback=False,
            )
        except Exception as error:
            raise BundleRefused(f"the graph of model {name!r} cannot be loaded: train it again") from error
        self._inputs = {each.name: _input(name, each) for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]

    @classmethod
    def of_bundle(cls, bundle: Bundle, *, threads: int = 1, run_seconds: float = 10.0) -> Self:
        """Load the graph of a bundle.

        Raises:
            BundleRefused: The runtime cannot load the graph.
        """
        return cls(
            bundle.model_bytes,
            name=bundle.manifest.model,
            version=bundle.manifest.version,
            vocabulary=bundle.vocabulary,
            state=bundle.manifest.state,
            weights_folder=bundle.weights_folder,
            threads=threads,
            run_seconds=run_seconds,
        )

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            inputs: One array an input. Integers are never negative, which a Gather would wrap silently;
                those of an input named ``rows`` or ``…_rows`` are rows of the vocabulary.

        Returns:
            One array an output.

        Raises:
            InvalidInput: An input is missing, unknown, of the wrong type or shape, or out of range.
            DeadlineExceeded: The run took longer than ``run_seconds``.
            EndcapError: The graph raised an error.
        """
        self._check(inputs)
        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        try:
            with _watchdog.limit(options, self._run_seconds):
                outputs = self._session.run(self._outputs, dict(inputs), options)
        except Exception as error:
            if options.terminate:
                raise DeadlineExceeded(
                    f"model {self.name!r} ran longer than {self._run_seconds:g} seconds: ask for less at once"
                ) from error
            raise EndcapError(f"the graph of model {self.name!r} failed: train it again") from error
        return dict(zip(self._outputs, outputs, strict=True))

    def _check(self, inputs: Tensors) -> None:
        if inputs.keys() != self._inputs.keys():
            raise InvalidInput(
                f"model {self.name!r} takes the inputs {', '.join(sorted(self._inputs))}, not"
                f" {', '.join(sorted(inputs)) or 'none'}"
            )
        for name, expected in self._inputs.items():
            array = inputs[name]
            if array.dtype != expected.dtype:
                raise InvalidInput(
                    f"input {name!r} of model {self.name!r} must be {expected.dtype}, not {array.dtype}"
                )
            if not _fits(array.shape, expected.shape):
                raise InvalidInput(
                    f"input {name!r} of model {self.name!r} must have the shape {expected.shape}, not"
                    f" {array.shape}"
                )
            if array.size and expected.dtype.kind == "i":
                self._check_range(name, array, expected)

    def _check_range(self, name: str, array: NDArray[Any], expected: _Input) -> None:
        if array.min() < 0:
            raise InvalidInput(f"input {name!r} of model {self.name!r} must not be negative")
        if expected.rows and array.max() >= len(self.vocabulary):
            raise InvalidInput(
                f"input {name!r} of model {self.name!r} must hold rows below {len(self.vocabulary)}"
            )


def _session_options(threads: int, weights_folder: Path | None) -> onnxruntime.SessionOptions:
    limit_memory()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads sleep, for the event loop and other models need the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # The runtime follows no name or link out of this folder; without weights it is one that cannot exist.
    folder = os.devnull if weights_folder is None else str(weights_folder.absolute())
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return options


def _input(model: str, argument: Any) -> _Input:
    if argument.type not in _TYPES:
        raise BundleRefused(
            f"input {argument.name!r} of model {model!r} has a type that is not supported: use one of"
            f" {', '.join(sorted(_TYPES))}"
        )
    rows = argument.name == "rows" or argument.name.endswith("_rows")
    return _Input(np.dtype(_TYPES[argument.type]), tuple(argument.shape), rows)


def _fits(shape: tuple[int, ...], expected: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        not isinstance(size, int) or size == given for given, size in zip(shape, expected, strict=True)
    )
