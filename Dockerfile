# The product: router, Celery worker, Flower and the mesh command, one image for all of them.
#   docker build --tag eldermesh:0.1.0 .
# Where packages come from a mirror, its pip.conf goes in as a build secret and stays out of the image:
#   docker build --secret id=pip_conf,src=pip.conf --tag eldermesh:0.1.0 .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /opt/eldermesh && python3 -m venv /opt/build
# Dependencies first: they change less often than the code.
COPY requirements-run.lock requirements.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/eldermesh/bin/pip install --quiet --require-hashes --requirement requirements-run.lock
# The build backend comes from the lock, too.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    awk '/^[^ #]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements.lock >build.lock \
    && /opt/build/bin/pip install --quiet --require-hashes --requirement build.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY eldermesh eldermesh
COPY eldermesh_cli eldermesh_cli
COPY services services
COPY shared shared
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/eldermesh/bin/pip install --quiet --no-deps --no-index dist/*.whl \
    && /opt/eldermesh/bin/pip uninstall --quiet --yes pip setuptools \
    && /opt/eldermesh/bin/python -m compileall -q /opt/eldermesh/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="eldermesh" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 mesh && useradd --uid 10001 --gid mesh --no-create-home --home-dir /var/lib/eldermesh mesh \
    && install --directory --owner mesh --group mesh --mode 0750 /var/lib/eldermesh
COPY --from=build /opt/eldermesh /opt/eldermesh
# HOME is where a read-only container may write; the code runs from a directory where nothing can be put.
ENV PATH=/opt/eldermesh/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/eldermesh MESH_DATA_DIR=/var/lib/eldermesh MESH_HEARTBEAT_FILE=/tmp/heartbeat
WORKDIR /opt/eldermesh
USER 10001:10001
VOLUME /var/lib/eldermesh
# The signal that the services drain on.
STOPSIGNAL SIGTERM
ENTRYPOINT []
CMD ["mesh", "--help"]
