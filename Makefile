# make demo     three nodes on this machine, to try it
# make test     the tests
# make tailnet  a real tailnet on this machine, about three minutes: tailnet/README.md
# make bench    how fast it is beside others, about seven minutes: bench/README.md
# make docs     the documentation as a site: site/index.html
# make clean    removes what these made

PYTHON ?= python3
VENV   := .venv

.PHONY: demo test dev tailnet bench docs clean

demo: $(VENV)/installed
	$(VENV)/bin/md demo

test: $(VENV)/tested
	$(VENV)/bin/python -m pytest -n auto --dist loadfile $(ARGS)

dev: $(VENV)/developed

tailnet: $(VENV)/tested
	$(VENV)/bin/python -m tailnet $(ARGS)

bench: $(VENV)/installed
	PYTHON=$(VENV)/bin/python bench/setup
	$(VENV)/bin/python -m bench $(ARGS)

docs: $(VENV)/documented
	$(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going -c docs/site . site

clean:
	rm -rf $(VENV) bench/work site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Each stands for one `pip install`, done again when pyproject.toml changes. Editable, so that code counts at once.
$(VENV)/installed: pyproject.toml mddns/__init__.py | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/tested: pyproject.toml mddns/__init__.py | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/developed: pyproject.toml mddns/__init__.py | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/tested $(VENV)/installed

$(VENV)/documented: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
