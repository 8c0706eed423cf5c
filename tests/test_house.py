"""The house: traps of the layout, and what each install may bring along."""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement


ROOT = Path(__file__).parent.parent
ROOTS = ("protos", "plugins", "server", "trainers")


def _closure(extra: str) -> set[str]:
    """Return the names of all distributions that an install with an extra brings along."""
    found: set[str] = set()
    waiting = [("endcap", extra)]
    while waiting:
        name, wanted = waiting.pop()
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
                continue
            needed = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if needed not in found:
                found.add(needed)
                waiting += [(requirement.name, each) for each in ("", *requirement.extras)]
    return found


def test_no_root_hides_the_namespace() -> None:
    assert [root for root in ROOTS if (ROOT / root / "endcap" / "__init__.py").exists()] == []


def test_every_portion_is_typed() -> None:
    portions = [path for root in ROOTS for path in (ROOT / root / "endcap").iterdir() if path.is_dir()]

    untyped = [
        path.name for path in portions if path.name != "__pycache__" and not (path / "py.typed").exists()
    ]

    assert untyped == []


def test_a_base_install_brings_no_torch_no_onnxruntime_and_no_database() -> None:
    assert _closure("") & {"torch", "onnxruntime", "sqlmodel", "sqlalchemy", "polars"} == set()


def test_a_server_install_brings_no_torch() -> None:
    closure = _closure("server")

    assert {"onnxruntime", "sqlmodel"} <= closure
    assert "torch" not in closure


@pytest.mark.parametrize("module", ["endcap.sdk", "endcap.client", "endcap.server.app"])
def test_serving_never_imports_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_sdk_is_light() -> None:
    heavy = "{'grpc', 'torch', 'onnxruntime', 'polars', 'sqlalchemy'}"
    program = f"import sys, endcap.sdk; sys.exit(bool({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_public_surface_of_the_sdk_is_sorted() -> None:
    import endcap.sdk

    constants = [name for name in endcap.sdk.__all__ if name.isupper()]
    classes = [name for name in endcap.sdk.__all__ if name[0].isupper() and not name.isupper()]
    functions = [name for name in endcap.sdk.__all__ if name[0].islower()]

    assert endcap.sdk.__all__ == [*sorted(constants), *sorted(classes), *sorted(functions)]
