"""The packages that a script needs. Standard library alone: it says what is missing before an import can fail for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

#: The exit code for wrong settings. `config` has it too, but needs a package itself.
EXIT_SETTINGS = 2


def need(*names: str) -> None:
    """End the process with exit code 2 if one of these modules is not installed, and say how to install what is needed.

    Scripts call it between their imports of the standard library and all others, if they are the process's main module.
    """
    for name in names:
        if find_spec(name) is None:
            print(f"{name} is not installed for {sys.executable}. What is needed comes by: make setup", file=sys.stderr)
            print(
                f"Then: .venv/bin/python {sys.argv[0]}   (in an environment of your own: pip install -r requirements.txt)", file=sys.stderr
            )
            sys.exit(EXIT_SETTINGS)
