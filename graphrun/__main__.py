"""``python -m graphrun`` is the ``graphrun`` command."""

import sys


def main() -> int | None:
    # Imported here, so that importing this module (documentation tools do) starts nothing.
    from graphrun.cli import main as cli_main

    return cli_main()


if __name__ == "__main__":
    sys.exit(main())
