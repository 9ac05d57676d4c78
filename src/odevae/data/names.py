"""Names that files give to their variables, which may be anything."""

# Longer than MATLAB allows, and short enough for a file name.
LONGEST_NAME = 100


def is_plain(name: str) -> bool:
    """Whether a name can come into sentences, logs, titles of figures and file names."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
