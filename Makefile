# make demo           three nodes on this machine, to try it
# make test           the quick tests: four minutes at most, with the setup
# make test-thorough  the others: hosts in network namespaces, chaos, name servers, real client programs
# make test-all       both
# make tailnet        a real tailnet on this machine, about three minutes: tailnet/README.md
# make bench          how fast it is beside others, about seven minutes: bench/README.md
# make docs           the documentation as a site: site/index.html
# make pins           renews tests/constraints.txt: the versions that all of these install
# make clean          removes what these made
#
# PINS= with any of them: the newest of everything instead, in .venv-newest.

PYTHON ?= python3
PINS   := tests/constraints.txt
VENV   := $(if $(PINS),.venv,.venv-newest)
PIP    := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check install
PIP    += $(if $(PINS),--constraint $(PINS),--upgrade --upgrade-strategy eager)
PYTEST  = $(VENV)/bin/python -m pytest -n auto --dist loadfile

.PHONY: demo test test-thorough test-all dev tailnet bench docs pins clean always

demo: $(VENV)/installed
	$(VENV)/bin/md demo

# What ARGS names is run, quick or not: make test ARGS='tests/hosts/test_dig.py -k name'
test: $(VENV)/tested
	$(PYTEST) --quick $(ARGS)

test-thorough: $(VENV)/tested
	$(PYTEST) -m thorough $(ARGS)

test-all: $(VENV)/tested
	$(PYTEST) $(ARGS)

dev: $(VENV)/developed

tailnet: $(VENV)/tested
	$(VENV)/bin/python -m tailnet $(ARGS)

bench: $(VENV)/installed
	PYTHON=$(VENV)/bin/python bench/setup
	$(VENV)/bin/python -m bench $(ARGS)

docs: $(VENV)/documented
	$(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going -c docs/site . site

pins:
	rm -rf .venv-newest
	$(MAKE) dev docs PINS=
	echo '# The versions that tests, types and the documentation are made with. "make pins" writes it.' >.venv-newest/pins
	.venv-newest/bin/python -m pip freeze --exclude-editable >>.venv-newest/pins
	cp .venv-newest/pins tests/constraints.txt

clean:
	rm -rf .venv .venv-newest bench/work site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Each stands for one `pip install`, done again when one of these changes; what is newest changes any day.
# Editable, so that code counts at once.
ASKED := pyproject.toml mddns/__init__.py $(or $(PINS),always)

$(VENV)/installed: $(ASKED) | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/tested: $(ASKED) | $(VENV)/bin/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/developed: $(ASKED) | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/tested $(VENV)/installed

$(VENV)/documented: $(ASKED) | $(VENV)/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@
