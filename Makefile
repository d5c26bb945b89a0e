# make demo           three nodes on this machine, to try it
# make test           the quick tests: four minutes at most, with the setup
# make test-thorough  the others: hosts in network namespaces, chaos, nameservers, the programs people already run
# make test-all       both
# make tailnet        a real tailnet on this machine, about three minutes: tailnet/README.md
# make bench          how fast it is beside others, about seven minutes: bench/README.md
# make clean          removes what these made

PYTHON ?= python3
VENV   := .venv
PYTEST  = $(VENV)/bin/python -m pytest -n auto --dist loadfile

.PHONY: demo test test-thorough test-all dev tailnet bench clean

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

clean:
	rm -rf $(VENV) bench/work

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Each stands for one `pip install`, done again when pyproject.toml changes. Editable, so that code counts at once.
$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/tested: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/developed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/tested $(VENV)/installed
