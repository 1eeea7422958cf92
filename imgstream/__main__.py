"""`python -m imgstream` is `imgstream`."""

import sys

from imgstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
