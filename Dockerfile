# Three images from one file:
#   service      (default) the service on CPU: slim, no torch, no training code, not root
#   service-gpu  the same service on an NVIDIA GPU
#   training     training, evaluation and export on an NVIDIA GPU
# The CUDA libraries come as Python packages, so all three share one base; the host brings the driver.

# The base image, by digest: a tag can be moved to other contents. The digest is that of the index of
# all architectures. docs/operations.md ("Reproducible images") says how to renew or override it.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/venv/bin:${PATH} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
# A fixed uid, so that a bind-mounted folder can be given to it by number.
RUN groupadd --gid 10001 reid \
    && useradd --uid 10001 --gid reid --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reid

# ---- environments -------------------------------------------------------------------------------
# Everything from the package index is pinned with its hash, by `make lock`. Dependencies first, in a
# layer that survives a change of code. What installs and builds has an environment of its own, which
# enters no image: neither pip nor setuptools is in the service's.
FROM base AS builder
WORKDIR /src
COPY docker/requirements-build.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/venv \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement docker/requirements-build.txt
COPY docker/install.sh docker/
COPY pyproject.toml README.md LICENSE ./

FROM builder AS environment-cpu
COPY docker/requirements-cpu.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip --python /opt/venv install \
    --require-hashes --requirement docker/requirements-cpu.txt
COPY service/ service/
RUN sh docker/install.sh

FROM builder AS environment-gpu
COPY docker/requirements-gpu.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip --python /opt/venv install \
    --require-hashes --requirement docker/requirements-gpu.txt
COPY service/ service/
RUN sh docker/install.sh

FROM builder AS environment-training
COPY docker/requirements-training.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip --python /opt/venv install \
    --require-hashes --requirement docker/requirements-training.txt
COPY service/ service/
COPY training/ training/
RUN sh docker/install.sh

# ---- training -----------------------------------------------------------------------------------
FROM base AS training
LABEL org.opencontainers.image.title="HHCL-ReID training" \
      org.opencontainers.image.description="Train person re-identification without labels" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=environment-training /opt/venv /opt/venv
RUN install --directory --owner=reid --group=reid /app/runs
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]

# ---- the service, without its environment -------------------------------------------------------
FROM base AS runtime
LABEL org.opencontainers.image.title="HHCL-ReID" \
      org.opencontainers.image.description="Find the same person again across cameras" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV REID_DATA=/data \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY docker/healthcheck.py /opt/healthcheck.py
COPY models/ models/
# A named volume takes its owner from this folder when it is first mounted.
RUN install --directory --mode=0700 --owner=reid --group=reid /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# The start period covers loading a large gallery; a failing check counts only after it.
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve", "--host", "0.0.0.0"]

# ---- the service on a GPU -----------------------------------------------------------------------
FROM runtime AS service-gpu
# Compiled kernels are cached under the home folder otherwise, which is read-only in compose.
ENV CUDA_CACHE_PATH=/tmp/cuda-cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=environment-gpu /opt/venv /opt/venv

# ---- the service on a CPU: last, so that it is what `docker build .` makes ------------------------
FROM runtime AS service
COPY --from=environment-cpu /opt/venv /opt/venv
