"""Compiled kernels for CPUs, which are taken where they are there: ``moganet kernels`` compiles them.

``library.py`` compiles and finds them, ``halves.py`` calls them. In the sources, ``kernels.h`` lists them,
``forward.cpp`` and ``backward.cpp`` make halves of them, and ``vectors.h`` has the arithmetic.
"""
