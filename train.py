"""`python train.py DIR --out RUN …` is `imgstream train DIR --out RUN …`."""

import sys

from imgstream.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
