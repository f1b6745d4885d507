"""2D pose and, below ``expose``, 3D hands and faces. What 2D pose needs with mmpose is in ``mogapose.topdown``."""

import moganet  # noqa: F401  registers the backbone
