"""``python -m moganet``: the console script ``moganet``."""

import sys

from .cli import main

sys.exit(main())
