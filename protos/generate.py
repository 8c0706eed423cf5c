"""Generate the Python code of the contract: the only way to do it.

::

    python protos/generate.py            write the generated code beside its .proto files
    python protos/generate.py --check    write nothing; fail when the committed code is stale
"""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]


ROOT = Path(__file__).parent
PACKAGE = Path("endcap", "v1")


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract.")
    parser.add_argument("--check", action="store_true", help="fail when the committed code is stale")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = read(Path(folder))
    stale = differences(read(ROOT), fresh)
    if check:
        for name in stale:
            print(f"{PACKAGE / name} is stale: run 'make protos' and commit what it writes", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = ROOT / PACKAGE / name
        if name in fresh:
            path.write_bytes(fresh[name])
        else:
            path.unlink()
    return 0


def generate(folder: Path) -> None:
    """Generate the code of every .proto file under a folder.

    Raises:
        SystemExit: A .proto file does not compile; the compiler has printed why.
    """
    protos = sorted((ROOT / PACKAGE).glob("*.proto"))
    # An empty _pb2_grpc.py appears for a file without a service, so only service files are asked for one.
    services = [path for path in protos if path.stem.endswith("_service")]
    _compile(protos, f"--python_out={folder}", f"--mypy_out=quiet:{folder}")
    _compile(services, f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}")


def read(root: Path) -> dict[str, bytes]:
    """Return the generated files under a root, by name."""
    return {path.name: path.read_bytes() for path in (root / PACKAGE).glob("*_pb2*.py*")}


def differences(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """Return the names of files that are missing, too many or different, sorted."""
    names = committed.keys() | fresh.keys()
    return sorted(name for name in names if committed.get(name) != fresh.get(name))


def _compile(protos: list[Path], *outputs: str) -> None:
    """Run the compiler of grpcio-tools."""
    # The plugins lie beside this Python, whose folder need not be on PATH.
    scripts = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--plugin={scripts / 'protoc-gen-mypy'}",
        f"--plugin={scripts / 'protoc-gen-mypy_grpc'}",
        f"--proto_path={ROOT}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        *outputs,
        *map(str, protos),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("the contract does not compile; the lines above say where")


if __name__ == "__main__":
    sys.exit(main())
