"""The command line: each command is a thin file that reads options, calls the library and prints the result.

entry_point.py  main: runs a command, turns an error into one line and an exit code
clock.py        when the command began
app.py          all commands, in groups
help.py         what --help prints
options.py      options that several commands share
data/           index, check, report, show, sort, pack, cache
training/       train, lr, bench
prediction/     predict, evaluate, embed, merge, export

Words, the same in all help texts and messages:

image     what is classified; not picture, photo or sample
file      what an image is stored in; a bad file cannot be read
folder    not directory; DIR stands for one
manifest  a file that lists images
table     the .arrow file that imgstream index writes
class     one of the names that a model can predict; not category
label     the class of one image
batch     images that the model takes at once; a step trains on one
model     not network; a run is the folder of a trained one
"""

from imgstream.cli.clock import STARTED  # first: the command begins here
from imgstream.cli.entry_point import main

__all__ = ["STARTED", "main"]
