#!/bin/sh
# Runs while an image is built: installs this package into /opt/venv and lists what /opt/venv holds.
# It does not contact the package index: /opt/venv and /opt/build already hold every pinned package.
set -eu

# Build isolation would fetch another backend, without a hash.
/opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /tmp/wheels .
/opt/build/bin/pip --python /opt/venv install --no-index --no-deps /tmp/wheels/*.whl
/opt/build/bin/pip --python /opt/venv check

# The list (SBOM, CycloneDX) is made from the installed packages, so it cannot differ from them.
/opt/build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
    --output-format JSON --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python
