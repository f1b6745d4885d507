"""``python -m moganet``: the console script ``moganet``."""

import sys

from .commands import main

sys.exit(main())
