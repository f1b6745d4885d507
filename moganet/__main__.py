"""Makes ``python -m moganet`` run the console script ``moganet``."""

import sys

from .commands import main

sys.exit(main())
