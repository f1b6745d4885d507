"""2D pose and, below ``expose``, 3D hands and faces. What 2D pose needs with mmpose is in ``mogapose.topdown``."""

import moganet  # noqa: F401  registers the backbone
from moganet.run.tasks import Task

TASK = Task('pose', __name__, takes_boxes=True)
