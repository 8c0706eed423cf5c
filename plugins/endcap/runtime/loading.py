"""From a bundle folder to a model that may serve."""

from pathlib import Path

from endcap.runtime.golden import check_golden_queries
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.bundle import Bundle


def load_bundle(folder: Path, host: PluginHost, *, threads: int = 1, run_seconds: float = 10.0) -> OnnxModel:
    """Load the bundle of a folder, verified and warm, or refuse it whole.

    Args:
        folder: The bundle.
        host: Offers the strategy that runs the model.
        threads: Threads that one run may use.
        run_seconds: Time that one run may take.

    Raises:
        BundleRefused: The bundle is damaged, altered, not made for this release, or answers wrongly.
    """
    return prepare_model(Bundle.open(folder), host, threads=threads, run_seconds=run_seconds)


def prepare_model(
    bundle: Bundle, host: PluginHost, *, threads: int = 1, run_seconds: float = 10.0
) -> OnnxModel:
    """Make a model of a bundle whose checksums hold.

    The graph is loaded, and the golden queries are asked, which also makes it allocate what it needs.

    Raises:
        BundleRefused: The graph cannot run here, or answers wrongly.
    """
    model = OnnxModel.of_bundle(bundle, threads=threads, run_seconds=run_seconds)
    check_golden_queries(bundle, model, host)
    return model
