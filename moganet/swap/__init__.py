"""Puts MogaNet in the place of the backbone of any config of an MM package."""

from .command import child_config, swap_config
from .plan import Swap, plan_swap

__all__ = ['Swap', 'child_config', 'plan_swap', 'swap_config']
