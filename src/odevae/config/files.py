"""A configuration file as it was written, before Snakemake reads it and one of two equal keys is lost."""

from pathlib import Path

import yaml

from odevae.errors import OdevaeError


def require_unique_keys(path: str | Path) -> None:
    """Refuse a file that gives a key twice, of which YAML would silently take the last.

    Raises:
        OdevaeError: for the first such key, by its full name and its lines.
    """
    try:
        waiting = [("", yaml.compose(Path(path).read_text(encoding="utf-8")))]
    except (OSError, yaml.YAMLError):
        return  # Snakemake says what is wrong with it.
    seen = set()
    while waiting:
        where, node = waiting.pop(0)
        # An alias is the same node again.
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(where, item) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            lines = {}
            for key, value in node.value:
                name, line = f"{where}{key.value}", key.start_mark.line + 1
                if name in lines:
                    raise OdevaeError(
                        f"{path}: {name} is given twice, in lines {lines[name]} and {line}; join the two or remove one."
                    )
                lines[name] = line
                waiting.append((f"{name}.", value))
