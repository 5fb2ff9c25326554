# Both commands do all their own set-up: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NEW_ENOUGH := 'import sys; v = sys.version_info; sys.exit("ipw needs Python 3.11 or newer, and $(PYTHON) is %d.%d: \
make quickstart PYTHON=python3.12" % v[:2] if v < (3, 11) else 0)'

.PHONY: quickstart test torch extras lint docs fuzz torture mutants bench release-check gpu-check clean

quickstart: $(VENV)/.use  ## measure the two bundled models and write the report
	$(VENV)/bin/ipw quickstart $(ARGS)

test: $(VENV)/.dev  ## run the tests, a file at a time on each of four processes: two cores bear them, since many tests wait
	$(VENV)/bin/python -m pytest -n 4 --dist loadfile $(ARGS)

# Programs that tests start would compile all of ipw each time: a quarter of what such a program computes.
unexport PYTHONDONTWRITEBYTECODE
# Each of the four would take all cores for its small matrices, and wait for the others by computing.
test: export OMP_NUM_THREADS = 1

torch: $(VENV)/.use  ## add PyTorch, with which the routing workload and its tests run too (CPU only: see README first)
	$(PIP) --editable '.[llamacpp,torch,routing,lora]'

extras: torch  ## add what only some tests want: those of lm-evaluation-harness and of Lightning run too
	$(PIP) --editable '.[lm-eval,lightning]'

lint: $(VENV)/.dev  ## style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

docs: $(VENV)/.use  ## write the reference again from what the code says, and build the site of all pages: build/site
	$(PIP) --editable '.[docs]'
	$(VENV)/bin/python tools/reference_pages.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

fuzz: $(VENV)/.dev  ## damage all that is read, and read it: no traceback, no hang (ARGS='--cases 3000 --seed 1')
	$(VENV)/bin/python tools/fuzz.py $(ARGS)

torture: $(VENV)/.dev  ## kill what measures at random moments and fill disks; nothing may be lost
	$(VENV)/bin/python tools/torture.py $(ARGS)
	$(VENV)/bin/python tools/torture_gateway.py

mutants: $(VENV)/.dev  ## change the code a little, 200 times: does a test notice?
	$(VENV)/bin/python tools/mutants.py $(ARGS)

bench: $(VENV)/.dev  ## measure speed, cost and error beside other tools, and write docs/benchmarks.md (quiet machine)
	$(PIP) --editable '.[routing]'
	$(VENV)/bin/python tools/bench_page.py $(ARGS)

release-check:  ## build wheel and sdist, and try them in clean environments: each Python here, and the oldest packages
	$(PYTHON) tools/release_check.py $(ARGS)

gpu-check: $(VENV)/.dev  ## characterise the sensors of a real NVIDIA GPU
	$(VENV)/bin/python -m pytest tests/gpu -m gpu -s $(ARGS)

clean:
	rm -rf $(VENV) build dist

$(VENV)/.use: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -c $(NEW_ENOUGH)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); false)
	$(PIP) --editable '.[llamacpp,gateway]'
	touch $@

$(VENV)/.dev: $(VENV)/.use
	$(PIP) --editable '.[llamacpp,dev]'
	touch $@
