# Three images from one file:
#   service      (default) the service on CPU: slim, no torch, no training code, not root
#   service-gpu  the same service on an NVIDIA GPU
#   training     training, evaluation and export on an NVIDIA GPU
# The CUDA libraries are Python packages, so all three share one base; the host provides the driver.

# The base image by digest, because a tag can be moved to other contents. The digest is the index of
# all architectures. docs/operations.md ("Reproducible images") shows how to renew or override it.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/venv/bin:${PATH} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
# A fixed uid, so that a bind-mounted folder can be given to this user by number.
RUN groupadd --gid 10001 reid \
    && useradd --uid 10001 --gid reid --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reid

# ---- environments -------------------------------------------------------------------------------
# `make lock` pins every package with its hash. Dependencies come first, in a layer that survives
# changes of the code. The tools that install and build have a separate environment, which enters no
# image: the service has neither pip nor setuptools.
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
COPY docker/requirements-server-cpu.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip --python /opt/venv install \
    --require-hashes --requirement docker/requirements-server-cpu.txt
COPY service/ service/
RUN sh docker/install.sh

FROM builder AS environment-gpu
COPY docker/requirements-server-gpu.txt docker/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/build/bin/pip --python /opt/venv install \
    --require-hashes --requirement docker/requirements-server-gpu.txt
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
      org.opencontainers.image.description="Trains person re-identification without identity labels" \
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
      org.opencontainers.image.description="Recognises the same person across cameras" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV REID_DATA=/data \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY docker/healthcheck.py /opt/healthcheck.py
COPY models/ models/
# A named volume takes the owner of this folder when it is first mounted.
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
# By default, compiled kernels are cached in the home folder, which is read-only in compose.
ENV CUDA_CACHE_PATH=/tmp/cuda-cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=environment-gpu /opt/venv /opt/venv

# ---- the service on a CPU: the last stage is what `docker build .` makes -------------------------
FROM runtime AS service
COPY --from=environment-cpu /opt/venv /opt/venv
