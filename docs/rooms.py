"""Draw the imports between the rooms of src/odevae into docs/architecture.md, as a Mermaid graph."""

from itertools import permutations
from pathlib import Path

import grimp

DOCUMENT = Path(__file__).with_name("architecture.md")
START, END = "```mermaid\n", "```\n"
# Nearly every room raises OdevaeError; these arrows would hide the others.
LEFT_OUT = "odevae.errors"


def picture() -> str:
    """A line for each arrow: the room that imports, and the room that it imports."""
    graph = grimp.build_graph("odevae", cache_dir=None)
    arrows = [
        f"    {importer.removeprefix('odevae.')} --> {imported.removeprefix('odevae.')}\n"
        for importer, imported in permutations(sorted(graph.find_children("odevae") - {LEFT_OUT}), 2)
        if graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
    ]
    return "flowchart TD\n" + "".join(arrows)


def with_picture(document: str) -> str:
    """The document with its Mermaid block replaced."""
    before, _, rest = document.partition(START)
    return before + START + picture() + END + rest.partition(END)[2]


if __name__ == "__main__":
    DOCUMENT.write_text(with_picture(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
