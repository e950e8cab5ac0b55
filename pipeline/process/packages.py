"""Checks that a script's packages are installed, before an import fails. Imports only the standard library."""

from __future__ import annotations

import sys
from importlib.util import find_spec

#: Exit code for invalid settings. `config` defines it too, but needs a package itself.
EXIT_SETTINGS = 2


def need(*names: str) -> None:
    """End the process with exit code 2 if one of these modules is not installed, and say how to install it.

    Scripts call it after their imports of the standard library and before all others, if they are the main module.
    """
    for name in names:
        if find_spec(name) is None:
            print(f"{name} is not installed for {sys.executable}. Install what is needed with: make setup", file=sys.stderr)
            print(
                f"Then: .venv/bin/python {sys.argv[0]}   (in an environment of your own: pip install -r requirements.txt)", file=sys.stderr
            )
            sys.exit(EXIT_SETTINGS)
