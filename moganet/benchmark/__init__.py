"""Speed and memory as ratios against named rivals, in one run on one machine."""

from .interleave import Result, compare, result, take_turns

__all__ = ['Result', 'compare', 'result', 'take_turns']
