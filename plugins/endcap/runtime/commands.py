"""The command ``endcap plugins``."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from endcap.runtime.plugin_host import FailedPlugin, PluginHost, Registration
from endcap.sdk.parameters import json_schema


def plugins() -> None:
    """List the strategies that are installed, and the plugins that failed and why."""
    host = PluginHost.discover()
    console = Console()
    console.print(_strategies(host.registrations.values()))
    if host.failures:
        console.print(_failures(host.failures))


def _strategies(registrations: Iterable[Registration]) -> Table:
    table = Table(
        Column("Strategy", no_wrap=True), "What it does", "Tasks", "Parameters", "From", title="Strategies"
    )
    for each in registrations:
        parameters = json_schema(each.parameters)["properties"]
        table.add_row(
            Text(each.name),
            Text(each.description),
            "\n".join(sorted(each.tasks)),
            Text(
                "\n".join(
                    f"{name} = {schema['default']!r}: {schema['description']}"
                    for name, schema in parameters.items()
                )
            ),
            Text(each.plugin.source),
        )
    return table


def _failures(failures: Iterable[FailedPlugin]) -> Table:
    table = Table(Column("Plugin", no_wrap=True), "Reason", "From", title="Failed plugins")
    for each in failures:
        raised = f"\n{type(each.error).__name__}: {each.error}" if each.error else ""
        table.add_row(Text(each.plugin.name), Text(each.message + raised), Text(each.plugin.source))
    return table
