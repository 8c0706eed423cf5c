"""The command ``endcap recommend``: one call to a running server."""

import sys
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.table import Table

from endcap.client import Client
from endcap.server.settings import Settings


def recommend(
    placement: Annotated[str, typer.Argument(help="The placement: home, product, cart, trending, …")],
    user: Annotated[str, typer.Option(help="The user's id.")] = "",
    visitor: Annotated[str, typer.Option(help="The visitor's id.")] = "",
    item: Annotated[list[str] | None, typer.Option(help="The product page's item, or the cart's.")] = None,
    address: Annotated[str, typer.Option(help="Where the server listens.")] = Settings().address,
) -> None:
    """Ask a running server for recommendations."""
    with Client(address) as client:
        try:
            answer = client.recommend(
                placement, user_id=user, visitor_id=visitor, item_ids=item or [], include_reasons=True
            )
        except grpc.RpcError as error:
            sys.exit(f"Error: {error.details()}")
    table = Table("Item", "Score", "Strategy", "Why")
    for result in answer.results:
        why = ", ".join(reason.text or reason.kind for reason in result.reasons)
        table.add_row(result.item_id, f"{result.score:.4g}", result.strategy, why)
    Console().print(table)
