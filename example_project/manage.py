#!/usr/bin/env python
"""Django's command line for the example site."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run one management command."""
    # So that the example uses the package beside it, also when that is not installed.
    sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")
    if sys.argv[1:2] == ["demo"]:
        # The demo has a database and a Valkey of its own. Settings read this, so it must be said
        # before Django starts, and the demo's child processes inherit it.
        from flights.demo.stage import claim_folder

        claim_folder(sys.argv)

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
