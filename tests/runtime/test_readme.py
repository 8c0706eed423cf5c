"""The plugin author's page cannot differ from the example, nor leave out a hook."""

import inspect
import re
from pathlib import Path

import pluggy
import pytest

from endcap.runtime.plugin_host import FailureCause
from endcap.sdk import hookspecs


ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"
README = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")

HOOKS = sorted(
    name
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
)


@pytest.mark.parametrize("name", ["similar_price.py", "pyproject.toml", "test_similar_price.py"])
def test_the_readme_shows_the_files_of_the_example(name: str) -> None:
    language = {".py": "python", ".toml": "toml"}[Path(name).suffix]

    assert f"\n`{name}`" in README
    assert f"```{language}\n{(EXAMPLE / name).read_text(encoding='utf-8')}```" in README


def test_the_readme_shows_no_other_code() -> None:
    blocks = re.findall(r"^```(python|toml)$", README, flags=re.MULTILINE)

    assert blocks == ["python", "toml", "python", "python"]


def test_the_example_holds_nothing_that_the_readme_leaves_out() -> None:
    files = {path.name for path in EXAMPLE.iterdir() if path.is_file()}

    assert files == {"similar_price.py", "pyproject.toml", "test_similar_price.py"}


def test_the_host_knows_the_hooks_that_are_documented() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)

    assert sorted(vars(manager.hook)) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)

    assert f"### {hook}({arguments})\n" in README


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested(hook: str) -> None:
    tests = (ROOT / "tests" / "runtime" / "test_plugin_host.py").read_text(encoding="utf-8")

    assert f"def test_hook_{hook}" in tests


@pytest.mark.parametrize("cause", list(FailureCause))
def test_every_cause_of_failure_is_documented(cause: FailureCause) -> None:
    assert f"| `{cause}` |" in README
