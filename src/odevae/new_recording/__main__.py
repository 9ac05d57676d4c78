"""What `make new` does before anything runs: `python -m odevae.new_recording data/mouse7.mat`."""

import sys
from pathlib import Path

import yaml

from odevae.errors import OdevaeError
from odevae.new_recording.preparation import prepare

SHIPPED = Path("config/config.yaml")
SCHEMA = Path("workflow/schemas/config.schema.yaml")


def main(arguments: list[str]) -> int:
    try:
        shipped, schema = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (SHIPPED, SCHEMA))
        prepared = prepare(" ".join(arguments), shipped, schema)
    except OdevaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(prepared.notes), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
