"""The command `odevae`: what a user asks about one file, without the workflow."""

import argparse
import sys
from collections.abc import Sequence

from odevae.data.readers.inspection import inspected
from odevae.errors import OdevaeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 1 after a sentence about a mistake."""
    parser = argparse.ArgumentParser(prog="odevae", description="Questions about one recording.")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser(
        "inspect", help="print what a file or folder holds, and the lines of a configuration that read it"
    )
    inspect.add_argument("path", help="a recording: a file, or the folder of suite2p or Minian")
    try:
        print(inspected(parser.parse_args(arguments).path))
    except OdevaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
