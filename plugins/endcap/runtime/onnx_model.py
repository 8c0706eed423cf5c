"""The ``Model`` protocol over onnxruntime."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import onnxruntime
from numpy.typing import NDArray

from endcap.runtime.input_checks import check_inputs
from endcap.runtime.memory import limit_memory
from endcap.runtime.watchdog import Watchdog
from endcap.sdk import Tensors, TensorSpec, Vocabulary
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused, DeadlineExceeded, EndcapError


_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "tensor(bool)": "bool",
        "tensor(double)": "float64",
        "tensor(float)": "float32",
        "tensor(float16)": "float16",
        "tensor(int32)": "int32",
        "tensor(int64)": "int64",
    }
)
"""The types of ``TensorSpec``, by onnxruntime's names."""

_SILENT = 4
_watchdog = Watchdog()


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
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
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
            inputs: The declared inputs of the graph, by name.
            outputs: The declared outputs of the graph, by name.
            state: Values that the trainer recorded for the strategy.
            weights_folder: The folder of the weights outside the graph; None if there are none.
            threads: Threads that one run may use.
            run_seconds: Time that one run may take.

        Raises:
            BundleRefused: The runtime cannot load the graph, or the graph differs from its declaration.
        """
        self.name = name
        self.version = version
        self.vocabulary = vocabulary
        self.inputs = inputs
        self.outputs = outputs
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
        self._compare("inputs", inputs, self._session.get_inputs())
        self._compare("outputs", outputs, self._session.get_outputs())

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
            inputs=bundle.manifest.inputs,
            outputs=bundle.manifest.outputs,
            state=bundle.manifest.state,
            weights_folder=bundle.weights_folder,
            threads=threads,
            run_seconds=run_seconds,
        )

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            inputs: One array an input, as ``inputs`` of this model declares it.

        Returns:
            One array an output.

        Raises:
            InvalidInput: An input is missing or unknown, or has the wrong type or shape, or holds a number
                out of range.
            DeadlineExceeded: The run took longer than ``run_seconds``.
            EndcapError: The graph raised an error.
        """
        check_inputs(self, inputs)
        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        try:
            with _watchdog.limit(options, self._run_seconds):
                outputs = self._session.run(list(self.outputs), dict(inputs), options)
        except Exception as error:
            if options.terminate:
                raise DeadlineExceeded(
                    f"model {self.name!r} ran longer than {self._run_seconds:g} seconds: ask for less at once"
                ) from error
            raise EndcapError(f"the graph of model {self.name!r} failed: train it again") from error
        return dict(zip(self.outputs, outputs, strict=True))

    def _compare(self, side: str, declared: Mapping[str, TensorSpec], found: Sequence[Any]) -> None:
        """Refuse a graph whose names, types, ranks or fixed lengths are not the declared ones."""
        names = {each.name for each in found}
        if names != declared.keys():
            raise BundleRefused(
                f"the graph of model {self.name!r} has the {side} {_listed(names)}, and its manifest declares"
                f" {_listed(declared)}: train it again"
            )
        for each in found:
            spec = declared[each.name]
            # Some graphs do not say the rank of an output.
            shape = each.shape or spec.axes
            if _TYPES.get(each.type) != spec.dtype or not _holds(shape, spec, free=side == "inputs"):
                raise BundleRefused(
                    f"{each.name!r} of model {self.name!r} is {each.type} {tuple(shape)} in the graph, and"
                    f" {spec.dtype} {spec.axes} in the manifest: train it again"
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


def _holds(shape: Sequence[int | str | None], spec: TensorSpec, *, free: bool) -> bool:
    """Compare lengths where the graph fixes one; a name of the graph stands for any.

    Args:
        shape: The shape in the graph.
        spec: The declaration.
        free: Whether the graph must leave an axis free that the declaration names.
    """
    return len(shape) == len(spec.axes) and all(
        not isinstance(length, int) or length == axis or (isinstance(axis, str) and not free)
        for length, axis in zip(shape, spec.axes, strict=True)
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
