"""The house: traps of the layout, who may import whom, and what each install may bring along."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from statistics import median

import pytest
from packaging.requirements import Requirement


ROOT = Path(__file__).parent.parent
ROOTS = ("protos", "plugins", "server", "trainers")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

ARROWS = {
    "v1": set(),
    "client": {"v1"},
    "sdk": set(),
    "strategies": {"sdk"},
    "runtime": {"sdk"},
    "evaluation": {"sdk"},
    "trainers": {"sdk", "runtime", "evaluation"},
    "catalog": {"sdk"},
    "experiments": {"sdk"},
    "server": {"v1", "client", "sdk", "runtime", "catalog", "experiments"},
    "cli": set(),
}
"""Which rooms a room may import; the demo, on top, may import any."""

SPEAKERS = {"api", "commands"}
"""The parts of the server that speak the contract: the others know the platform's own terms only."""


def _portions() -> list[Path]:
    """Return the folder of each room."""
    folders = [path for root in ROOTS for path in (ROOT / root / "endcap").iterdir()]
    return [path for path in folders if path.is_dir() and path.name != "__pycache__"]


def _modules(*rooms: str) -> list[Path]:
    """Return the modules of rooms, without migrations and generated code."""
    folders = [path for path in _portions() if not rooms or path.name in rooms]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    return [file for file in files if "_pb2" not in file.name and file.parent.name != "versions"]


def _imported(file: Path) -> Iterator[str]:
    """Yield what a module imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


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
    assert [path.name for path in _portions() if not (path / "py.typed").exists()] == []


def test_no_root_is_left_out_of_the_editable_install_the_wheel_or_the_type_checker() -> None:
    """The first would lack modules, and the type checker would see one room and report success."""
    build = PYPROJECT["tool"]["hatch"]["build"]

    assert build["dev-mode-dirs"] == [*ROOTS]
    assert build["targets"]["wheel"]["packages"] == [f"{root}/endcap" for root in ROOTS]
    assert PYPROJECT["tool"]["mypy"]["mypy_path"][: len(ROOTS)] == [*ROOTS]
    assert PYPROJECT["tool"]["mypy"]["explicit_package_bases"]
    assert "packages" not in PYPROJECT["tool"]["mypy"]


def test_the_generated_code_is_in_the_repository_and_so_in_the_wheel() -> None:
    """What git ignores, the wheel lacks."""
    generated = [str(path) for path in ROOT.glob("protos/endcap/v1/*_pb2*.py*")]

    ignored = subprocess.run(
        ["git", "check-ignore", *generated], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert generated
    assert ignored.stdout == ""


def test_stubs_are_generated_of_services_only() -> None:
    stubs = {path.name.removesuffix("_pb2_grpc.py") for path in ROOT.glob("protos/endcap/v1/*_pb2_grpc.py")}

    assert stubs == {path.stem for path in ROOT.glob("protos/endcap/v1/*_service.proto")}


def test_clients_need_no_newer_packages_than_the_generator_writes_code_for() -> None:
    project = PYPROJECT["project"]
    lines = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    versions = {line.name: str(line.specifier) for line in lines}
    generated = (ROOT / "protos" / "endcap" / "v1" / "item_pb2.py").read_text(encoding="utf-8")

    assert versions["grpcio"] == versions["grpcio-tools"].replace("==", ">=")
    assert f"# Protobuf Python Version: {versions['protobuf'].removeprefix('>=')}\n" in generated


def test_the_rules_of_imports_cover_every_arrow() -> None:
    rooms = {path.name for path in _portions()}
    rules = PYPROJECT["tool"]["importlinter"]
    forbidden: dict[str, set[str]] = {room: set() for room in rooms}
    for contract in rules["contracts"]:
        if contract["type"] == "layers":
            continue
        importing = contract.get("source_modules", contract.get("modules"))
        imported = contract.get("forbidden_modules", contract.get("modules"))
        for room in rooms & {name.removeprefix("endcap.") for name in importing}:
            forbidden[room] |= rooms & {name.removeprefix("endcap.") for name in imported} - {room}

    assert {root.removeprefix("endcap.") for root in rules["root_packages"]} == {*ARROWS, "demo"}
    assert {room: rooms - forbidden[room] - {room} for room in ARROWS} == ARROWS


def test_no_folder_of_the_server_or_the_catalog_holds_more_than_16_modules() -> None:
    folders = Counter(file.parent for file in _modules("server", "catalog") if file.name != "__init__.py")

    assert {str(folder): count for folder, count in folders.items() if count > 16} == {}


def test_modules_of_the_server_and_the_catalog_are_short() -> None:
    """At most 350 lines each, and half of them at most 130."""
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in _modules("server", "catalog")
        if file.name != "__init__.py"
    }

    assert {file: length for file, length in lengths.items() if length > 350} == {}
    assert median(lengths.values()) <= 130


def test_a_class_name_means_one_thing_in_all_rooms() -> None:
    places = defaultdict(list)
    for file in _modules():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))

    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_the_page_of_the_server_lists_every_folder() -> None:
    text = (ROOT / "server" / "README.md").read_text(encoding="utf-8")
    server, catalog = (ROOT / "server" / "endcap" / room for room in ("server", "catalog"))
    folders = [
        path for room in (server, catalog) for path in room.iterdir() if (path / "__init__.py").exists()
    ]
    names = [f"`{path.parent.name}/{path.name}/`" for path in folders]

    assert [name for name in names if name not in text] == []


def test_the_contract_is_spoken_in_a_few_parts_of_the_server() -> None:
    server = ROOT / "server" / "endcap" / "server"

    speakers = {
        file.relative_to(server).parts[0].removesuffix(".py")
        for file in server.rglob("*.py")
        if any(name.startswith("endcap.v1") for name in _imported(file))
    }

    assert speakers == SPEAKERS


def test_a_migration_stands_alone_whatever_the_code_becomes() -> None:
    """One that imports live code does something else in each release, or fails once the name is gone."""
    versions = sorted((ROOT / "server/endcap/catalog/database/migrations/versions").glob("v*.py"))

    live = {file.name: [name for name in _imported(file) if name.startswith("endcap")] for file in versions}

    assert len(live) >= 9
    assert {name: imported for name, imported in live.items() if imported} == {}


def test_a_base_install_brings_no_torch_no_onnxruntime_and_no_database() -> None:
    assert _closure("") & {"torch", "onnxruntime", "sqlmodel", "sqlalchemy", "polars"} == set()


def test_images_give_up_root_after_the_last_command_that_needs_it() -> None:
    for image in ROOT.glob("docker/*.Dockerfile"):
        steps = [line.split()[0] for line in image.read_text(encoding="utf-8").splitlines() if line.strip()]

        assert "USER" in steps, image
        assert "RUN" not in steps[steps.index("USER") :], image


def test_the_image_that_trains_reaches_the_database_too() -> None:
    """What ``endcap retrain`` needs."""
    image = (ROOT / "docker" / "trainer.Dockerfile").read_text(encoding="utf-8")

    assert "'.[server,train]'" in image


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
