"""Puts MogaNet in the place of the backbone of any config of an MM package."""
