"""The cpp backend: kernels for CPUs that ``moganet kernels`` compiles.

``library.py`` compiles and loads the kernels, ``bindings.py`` calls them. Of the sources, ``kernels.h`` declares all
kernels, ``forward.cpp`` and ``backward.cpp`` make branches of them, and ``vectors.h`` has the vector arithmetic.
"""
