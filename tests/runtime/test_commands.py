"""What ``endcap plugins`` prints."""

from types import ModuleType

import pytest

from endcap.runtime import commands
from endcap.runtime.plugin_host import Plugin, PluginHost


def shown(host: PluginHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(PluginHost, "discover", lambda: host)
    commands.plugins()
    return capsys.readouterr().out


def test_strategies_are_listed_with_what_they_take_and_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shown(PluginHost.discover(), monkeypatch, capsys)

    assert "popular" in output
    assert "endcap 0.1.0" in output
    assert "Failed plugins" not in output


def test_failed_plugins_are_listed_with_their_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load() -> ModuleType:
        raise ValueError("no [bold]shelf[/bold] in sight")

    output = shown(PluginHost([Plugin("shelf", "shelf-plugin", "1.2.0", load)]), monkeypatch, capsys)

    assert "Failed plugins" in output
    assert "importing it raised ValueError" in output
    assert "ValueError: no [bold]shelf[/bold] in sight" in output
    assert "shelf-plugin 1.2.0" in output
