# make serve CHECKPOINT=file   make test   make stop   make lint   make env

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PHOTO := demo/photos/cat.jpg
LABELS ?= cat,grass,other

.PHONY: env serve stop test lint format clean

env: $(READY)

# One pip call for everything, with torch and torchvision pinned by the lock: a second call could upgrade torch.
$(READY): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,java]'
	touch $@

serve: env
ifndef CHECKPOINT
	$(error which checkpoint? make serve CHECKPOINT=demo_e200.ckpt)
endif
	$(BIN)/python -m export $(CHECKPOINT)
	$(BIN)/python -m server start
	$(BIN)/python -m client $(PHOTO) --labels "$(LABELS)" --output mask.png

stop: env
	$(BIN)/python -m server stop

test: env
	$(BIN)/python -m pytest

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: stop
	rm -rf $(VENV) .run mask.png model_store/lseg.mar
