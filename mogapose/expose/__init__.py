"""3D hands, faces and bodies (ExPose, ECCV 2020) on MMEngine alone.

Importing the package registers the models, data sets, transforms and metrics that its configs name.
"""

from moganet.run.tasks import Task

from . import preflight  # noqa: F401  registers
from .body_models import layers  # noqa: F401  registers
from .data import datasets, transforms  # noqa: F401  registers
from .evaluation import metrics  # noqa: F401  registers
from .models import estimator, heads, losses  # noqa: F401  registers

TASK = Task('expose', __name__, takes_boxes=True)
