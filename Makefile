# Where commands are spelled. Every target sets the environment up by itself; `make` lists them.

# The first Python that will do: that of .venv, so that a later call keeps it. Another one: make env PYTHON=/path/to/python3.12
PYTHON ?= $(shell for python in .venv/bin/python python3 python3.11 python3.12 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$python && break; done)
PY := .venv/bin/python
TASK ?= cls
# Test files side by side, one thread each.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 8 --dist loadfile
FROM ?=

.DEFAULT_GOAL := help
.PHONY: help env doctor test test-all check demo demo-det demo-seg demo-pose demo-expose demo-video mini-data parity-mmhuman3d tables figures benchmark dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## */\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-17s %s\n' "$$name" "$$text"; done

env:  ## set up .venv, or go on where an earlier call stopped (FROM=step repeats from there)
	@test -n "$(PYTHON)" || { echo 'No Python 3.10, 3.11 or 3.12 found: install one, or call make env PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) tools/setup_env.py $(if $(FROM),--from $(FROM))

doctor:  ## versions, mmcv's ops, CPU or GPU, and what mends what is wrong
	@$(or $(wildcard $(PY)),$(PYTHON)) moganet/doctor.py

test: env  ## the tests that CI runs
	OMP_NUM_THREADS=1 $(PY) -m pytest $(SIDE_BY_SIDE)

test-all: env  ## and the slow ones, Triton's interpreter and its compiler
	OMP_NUM_THREADS=1 $(PY) -m pytest $(SIDE_BY_SIDE) -m ''

check: env  ## a minute: lint, format, types, spelling, shape of the code, prose, every config loads
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m codespell_lib
	OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/test_shape.py tests/test_prose.py tests/test_configs.py -k 'not builds and not trains and not users and not alone'

demo: env mini-data  ## train MogaNet on scanned digits and show what it learnt: minutes
	$(PY) tools/demo.py --task $(TASK)

demo-det:  ## train Mask R-CNN on photographs with scanned digits: a quarter of an hour
demo-seg:  ## label every pixel of photographs with scanned digits
demo-pose:  ## find the joints of figures in photographs
demo-expose:  ## find the pose of hands in 3D, then the shape of faces: half an hour of one core
demo-video:  ## predict how moving digits go on
demo-det demo-seg demo-pose demo-expose demo-video:
	@$(MAKE) --no-print-directory demo TASK=$(@:demo-%=%)

mini-data: env  ## write the small data set of TASK=cls
	$(PY) tools/make_mini_data.py --task $(TASK)

parity-mmhuman3d: env  ## compare ExPose with the real MMHuman3D, number by number, in a second environment
	@$(PY) tools/setup_mmhuman3d.py
	OMP_NUM_THREADS=2 $(PY) -m pytest -q -s tests/mogapose/expose/test_parity_mmhuman3d.py

tables: env  ## the paper's tables beside what the code measures
	$(PY) tools/paper_tables.py

figures: env  ## draw the pictures of README; demos without a picture are trained first, two hours for all
	$(PY) tools/make_figures.py

benchmark: env  ## speed, as ratios within one run
	$(PY) tools/benchmark.py

dist: env  ## build the wheel and the source archive into dist/
	rm -rf build dist
	$(PY) -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .
	$(PY) -c 'from setuptools import build_meta; print("dist/" + build_meta.build_sdist("dist"))'

clean:  ## remove work_dirs and caches, never data or .venv
	rm -rf work_dirs build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './data/*' -prune -exec rm -rf {} +
