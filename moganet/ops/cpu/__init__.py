"""Compiled kernels for CPUs, which are taken where they are there: ``moganet kernels`` compiles them.

``library.py`` compiles and finds them, ``compiled.py`` calls them. In the sources, ``kernels.h`` lists them and
``vectors.h`` has the arithmetic.
"""
