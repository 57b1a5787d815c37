#!/bin/sh
# Inside an image's build: install this package into /opt/venv, and list what /opt/venv holds.
# The package index is not asked: what is needed lies in /opt/venv and /opt/build, pinned with hashes.
set -eu

# With the backend that is there: isolation would fetch another one, without a hash.
/opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /tmp/wheels .
/opt/build/bin/pip --python /opt/venv install --no-index --no-deps /tmp/wheels/*.whl
/opt/build/bin/pip --python /opt/venv check

# The list (SBOM, CycloneDX) is made from what is installed, so it cannot differ from it.
/opt/build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
    --output-format JSON --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python
