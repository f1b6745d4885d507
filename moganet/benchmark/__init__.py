"""Speed and memory as ratios against named baselines, measured in one run on one machine."""

from .interleave import Result, compare_calls, compare_times, time_interleaved

__all__ = ['Result', 'compare_calls', 'compare_times', 'time_interleaved']
