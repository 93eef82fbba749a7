# One image for each device; docs/docker.md has the commands, sizes and memory.
#
#   docker build --target cpu -t lseg:cpu .       the CPU build of torch
#   docker build --target cuda -t lseg:cuda .     PyPI's torch, which has CUDA in it; the host brings the driver
#   docker build --target gaudi -t lseg:gaudi .   Intel's image with Intel's torch
#
# Each is made in two stages. The first has pip and installs everything into /opt/lseg, the second takes that folder.
ARG BASE=debian:bookworm-slim
ARG GAUDI_BASE=vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/pytorch-installer-2.11.0:latest
# Extras of the package: with java,web,otel, OpenTelemetry's spans are in it, docs/watching.md.
ARG EXTRAS=java,web

# --- what CPU and CUDA share ---
FROM ${BASE} AS system
# procps: TorchServe ends workers with the program `kill`. iproute2: `ss` tells which connections wait for an answer.
# tini: process 1, which passes signals on and takes leave of ended processes.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates iproute2 procps python3 tini \
    && rm -rf /var/lib/apt/lists/*

FROM system AS installer
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-pip unzip \
    && rm -rf /var/lib/apt/lists/*
# This pip installs into the environment; the environment has none of its own.
RUN python3 -m venv --without-pip /opt/lseg
WORKDIR /build
# Dependencies first, for a package without code or README: a change of these leaves the layer as it is.
COPY pyproject.toml requirements.lock LICENSE ./
COPY src/lseg_serve/__init__.py src/lseg_serve/

FROM system AS runtime
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin lseg \
    && install --directory --owner lseg --group lseg /home/lseg/.cache /models
COPY deploy/docker/lseg-ready /usr/local/bin/
ENV PATH=/opt/lseg/bin:$PATH \
    TS_INFERENCE_ADDRESS=http://0.0.0.0:8080 \
    TS_METRICS_ADDRESS=http://0.0.0.0:8082 \
    LSEG_HEALTH_ADDRESS=0.0.0.0:8083 \
    JDK_JAVA_OPTIONS="-Djava.library.path=/opt/lseg/native --enable-native-access=ALL-UNNAMED"
WORKDIR /home/lseg
USER 10001:10001
EXPOSE 8080 8082 8083
HEALTHCHECK --interval=15s --timeout=10s --start-period=30m --retries=3 CMD ["lseg-ready"]
ENTRYPOINT ["tini", "--", "lseg", "run", "--run-folder", "/tmp/lseg", "--model-store", "/models"]

# --- CPU ---
FROM installer AS cpu-build
# Where the CPU build of torch is to be had: an index, or with PIP_FIND_LINKS a folder. pip reads both variables.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG PIP_FIND_LINKS
ARG EXTRAS
RUN touch README.md \
    && python3 -m pip --python /opt/lseg/bin/python install --no-cache-dir --constraint requirements.lock ".[${EXTRAS}]" \
    && /opt/lseg/bin/python -c 'import torch; cuda = torch.version.cuda; exit(cuda and f"torch {torch.__version__} has CUDA in it; accepted: PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS with a CPU build")'
COPY . .
RUN python3 -m pip --python /opt/lseg/bin/python install --no-cache-dir --no-deps --force-reinstall . \
    && deploy/docker/native.sh

FROM runtime AS cpu
COPY --from=cpu-build /opt/lseg /opt/lseg
# An archive of the build context that is baked in. The default is none: mount a folder with one on /models.
ARG ARCHIVE=model_store/README.md
COPY ${ARCHIVE} /models/

# --- CUDA ---
FROM installer AS cuda-build
ARG EXTRAS
RUN touch README.md \
    && python3 -m pip --python /opt/lseg/bin/python install --no-cache-dir --constraint requirements.lock ".[${EXTRAS}]"
COPY . .
RUN python3 -m pip --python /opt/lseg/bin/python install --no-cache-dir --no-deps --force-reinstall . \
    && deploy/docker/native.sh

FROM runtime AS cuda
# What NVIDIA's container runtime mounts: the driver's libraries, and nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-build /opt/lseg /opt/lseg
ARG ARCHIVE=model_store/README.md
COPY ${ARCHIVE} /models/

# --- Gaudi ---
FROM ${GAUDI_BASE} AS gaudi-system
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates iproute2 procps tini \
    && rm -rf /var/lib/apt/lists/*

FROM gaudi-system AS gaudi-build
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends unzip \
    && rm -rf /var/lib/apt/lists/*
# The environment sees the packages of Intel's image, its pip among them, and nothing may replace its torch.
RUN python3 -m venv --without-pip --system-site-packages /opt/lseg
WORKDIR /build
ARG EXTRAS
COPY pyproject.toml requirements.lock LICENSE ./
COPY src/lseg_serve/__init__.py src/lseg_serve/
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN touch README.md \
    && grep -vE '^(torch|torchvision|triton|nvidia-.*)==' requirements.lock > others.txt \
    && python3 -m pip list --format=freeze | grep -E '^(torch|torchvision)==' >> others.txt \
    && /opt/lseg/bin/python -m pip install --no-cache-dir --constraint others.txt ".[${EXTRAS}]" \
    && test ! -e "$(echo /opt/lseg/lib/python3*/site-packages)/torch"
COPY . .
RUN /opt/lseg/bin/python -m pip install --no-cache-dir --no-deps --force-reinstall . \
    && deploy/docker/native.sh

FROM gaudi-system AS gaudi
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin lseg \
    && install --directory --owner lseg --group lseg /home/lseg/.cache /models
COPY deploy/docker/lseg-ready /usr/local/bin/
# The bridge is loaded with the settings of the device's mode, after torch is imported.
ENV PATH=/opt/lseg/bin:$PATH \
    PT_HPU_AUTOLOAD=0 \
    TS_INFERENCE_ADDRESS=http://0.0.0.0:8080 \
    TS_METRICS_ADDRESS=http://0.0.0.0:8082 \
    LSEG_HEALTH_ADDRESS=0.0.0.0:8083 \
    JDK_JAVA_OPTIONS="-Djava.library.path=/opt/lseg/native --enable-native-access=ALL-UNNAMED"
WORKDIR /home/lseg
COPY --from=gaudi-build /opt/lseg /opt/lseg
ARG ARCHIVE=model_store/README.md
COPY ${ARCHIVE} /models/
USER 10001:10001
EXPOSE 8080 8082 8083
HEALTHCHECK --interval=15s --timeout=10s --start-period=60m --retries=3 CMD ["lseg-ready"]
ENTRYPOINT ["tini", "--", "lseg", "run", "--run-folder", "/tmp/lseg", "--model-store", "/models"]
