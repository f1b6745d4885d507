"""2D pose, and below ``expose`` 3D hands, faces and bodies.

Importing the package loads no mmpose. ``mogapose.topdown`` registers the parts of 2D pose with mmpose.
"""

import moganet  # noqa: F401  registers the backbone
from moganet.run.tasks import Task

TASK = Task('pose', __name__, takes_boxes=True)
