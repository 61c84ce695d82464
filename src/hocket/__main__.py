"""``python -m hocket``: the command line without its script."""

from hocket.cli.main import main

main()
