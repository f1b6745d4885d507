"""Registries of ExPose, children of MMEngine's, so that names such as L1Loss do not collide with other packages."""

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

LOCATIONS = ['mogapose.expose']

MODELS = Registry('model', parent=ROOT_MODELS, scope='mogapose', locations=LOCATIONS)
DATASETS = Registry('dataset', parent=ROOT_DATASETS, scope='mogapose', locations=LOCATIONS)
TRANSFORMS = Registry('transform', parent=ROOT_TRANSFORMS, scope='mogapose', locations=LOCATIONS)
METRICS = Registry('metric', parent=ROOT_METRICS, scope='mogapose', locations=LOCATIONS)
