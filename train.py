"""`python train.py DIR --out RUN …` is `imgstream train DIR --out RUN …`."""

import sys

from imgstream.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
