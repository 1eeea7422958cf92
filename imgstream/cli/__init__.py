"""The command line. Each command is a thin file: options in, library call, tables out.

entry_point.py  main: errors into one line and an exit code
clock.py        when the command began
app.py          the commands, gathered
options.py      options that several commands share
data/           index, check, show, sort, cache
training/       train, lr, bench
prediction/     predict, evaluate, embed, merge
"""

from imgstream.cli.clock import STARTED  # first: the command begins here
from imgstream.cli.entry_point import main

__all__ = ["STARTED", "main"]
