"""Counts the statements of each room: what it does, apart from what it says about itself.

Docstrings, comments, generated code and migrations do not count.

    python tests/benchmarks/statements.py [FOLDER]
"""

import ast
import sys
from collections import Counter
from pathlib import Path


ROOT = Path(__file__).parents[2]
ROOMS = ("plugins/endcap", "protos/endcap", "server/endcap", "trainers/endcap")


def count_statements(source: str) -> int:
    """Return how many statements a module holds, without texts that stand alone, such as docstrings."""
    return sum(
        isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(ast.parse(source))
    )


def count_rooms(root: Path) -> Counter[str]:
    """Return the statements of each room below a checkout."""
    counts = Counter[str]()
    for home in ROOMS:
        for module in sorted((root / home).rglob("*.py")):
            if "_pb2" not in module.name and "migrations" not in module.parts:
                room = module.relative_to(root / home).parts[0]
                counts[f"{home}/{room}"] += count_statements(module.read_text(encoding="utf-8"))
    return counts


if __name__ == "__main__":
    rooms = count_rooms(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    for room, count in sorted(rooms.items()):
        print(f"{count:7,}  {room}")
    both = rooms["server/endcap/server"] + rooms["server/endcap/catalog"]
    print(f"{both:7,}  server and catalog")
