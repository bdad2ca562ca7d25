"""Draw which room of the package imports which: ``python docs/import_graph.py``.

A room is a module or a package directly inside `metricalign`. Writes the table of
docs/architecture.md and docs/static/import_graph.svg; fails if a room imports one that comes later.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "metricalign"
PAGE = Path(__file__).with_name("architecture.md")
PICTURE = Path(__file__).parent / "static" / "import_graph.svg"

# The order in which the package reads; a room imports rooms above it only.
ROOMS = {
    "foundation": "what all rooms stand on: the private modules, whose names begin with `_`",
    "relations": "y: how different two targets are",
    "features": "X: what a metric is linear in",
    "pairs": "X, y: which pairs, neighbours, identical samples",
    "operators": "from M to the distances of the pairs, and back",
    "losses": "how badly a distance misses its relation",
    "regularizers": "which M are allowed, and at what price",
    "solvers": "the problem, its certificate, and what solves it",
    "learners": "estimators of a metric",
    "neighbors": "approximate search of neighbours",
    "predictors": "estimators that predict with a metric",
    "multilabel": "neighbours that vote for label sets",
    "pair_classification": "whether two samples are alike",
    "metrics": "measures of predictions and of neighbours",
    "datasets": "data sets of the field",
    "plotting": "pictures",
    "command_line": "`python -m metricalign`",
    "deep": "networks, an extra",
    "testing": "checks of every part, and problems with known answers",
}


def room_of(name: str) -> str:
    """Room of a module or package directly inside `metricalign`."""
    if name == "__main__":
        return "command_line"
    return "foundation" if name.startswith("_") else name


def imports() -> dict[str, set[str]]:
    """Rooms that each room imports.

    What is taken from `metricalign` itself counts as taken from the room that `__init__` has it
    from; `__init__`, which only collects the public names, is no room.
    """
    public = {}
    for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            public |= dict.fromkeys((alias.name for alias in node.names), node.module)
    graph: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        imported = graph.setdefault(room_of(parts[0]), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "metricalign":
                modules = [public.get(a.name, f"metricalign.{a.name}") for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            names = [module.split(".") for module in modules]
            imported |= {room_of(n[1]) for n in names if n[0] == "metricalign" and len(n) > 1}
    return {room: others - {room} for room, others in graph.items()}


def backward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that run against the order, and rooms that have no place in it."""
    order = list(ROOMS)
    faults = [f"{room} is not among ROOMS of docs/import_graph.py" for room in graph.keys() - ROOMS]
    return faults + [
        f"{room} imports {other}, which comes after it"
        for room, others in graph.items()
        for other in others
        if {room, other} <= ROOMS.keys() and order.index(other) > order.index(room)
    ]


def table(graph: dict[str, set[str]]) -> str:
    """The rooms in their order and what each imports, in Markdown."""
    rows = ["| room | what is in it | imports |", "| --- | --- | --- |"]
    for room in filter(graph.__contains__, ROOMS):
        others = ", ".join(other for other in ROOMS if other in graph[room] - {"foundation"})
        rows.append(f"| `{room}` | {ROOMS[room]} | {others or '-'} |")
    return "\n".join(rows)


def picture(graph: dict[str, set[str]]) -> str:
    """The rooms from top to bottom, and an arc from each up to those that it imports, in SVG."""
    rooms = [room for room in ROOMS if room in graph and room != "foundation"]
    height, right = 34, 330
    arcs, labels = [], []
    for place, room in enumerate(rooms):
        y = height * place + 24
        labels.append(f'<text x="{right + 14}" y="{y + 5}">{room}</text>')
        labels.append(f'<circle cx="{right}" cy="{y}" r="4"/>')
        for other in (other for other in rooms if other in graph[room]):
            end = height * rooms.index(other) + 24
            radius = abs(y - end) / 2
            sweep = int(end < y)
            arcs.append(
                f'<path d="M {right - 5} {y} A {radius:g} {radius:g} 0 0 {sweep} {right - 5} {end}"'
                ' marker-end="url(#head)"/>'
            )
    size = f'width="530" height="{height * len(rooms) + 14}"'
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="#1f6f8b"/></marker>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace">',
            f'<rect {size} fill="white"/>',
            f"<defs>{head}</defs>",
            '<g fill="none" stroke="#1f6f8b" stroke-opacity="0.55">',
            *arcs,
            "</g>",
            '<g font-size="15" fill="#222">',
            *labels,
            "</g>",
            "</svg>\n",
        ]
    )


def page(graph: dict[str, set[str]]) -> str:
    """The page with the table of today."""
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(r"\| room \|.*?\|\n(?=\n)", lambda _: table(graph) + "\n", text, flags=re.DOTALL)


def main() -> int:
    """Write the table and the picture."""
    graph = imports()
    PAGE.write_text(page(graph), encoding="utf-8")
    PICTURE.write_text(picture(graph), encoding="utf-8")
    faults = backward(graph)
    print(*faults or ["Every import runs up the order."], sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
