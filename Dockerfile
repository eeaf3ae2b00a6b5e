# The mesh in four images: `ray` and `claude` hold what `service` holds, and that what `mesh` holds.
#   docker build --target mesh    --tag eldermesh/mesh:0.1.0 .      the client and the command `mesh`
#   docker build --target service --tag eldermesh/service:0.1.0 .   sages, notifier, Celery workers, Beat, Flower
#   docker build --target ray     --tag eldermesh/ray:0.1.0 .       nodes of Ray, and routers that send jobs there
#   docker build --target claude  --tag eldermesh/claude:0.1.0 .    whatever runs prompts: the Claude CLI alone takes 365 MB
# Where packages come from a mirror, its pip.conf goes in as a build secret and stays out of the image:
#   docker build --secret id=pip_conf,src=pip.conf --target service .
ARG PYTHON_IMAGE=python:3.11-slim

# pip and the build backend, which no image holds.
FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY locks/build.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3 -m venv /opt/build && python3 -m venv --without-pip /opt/eldermesh \
    && /opt/build/bin/pip install --quiet --require-hashes --requirement build.lock

FROM tools AS wheel
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY eldermesh eldermesh
COPY eldermesh_cli eldermesh_cli
COPY services services
COPY shared shared
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# Dependencies are apart from the code: they change less often.
FROM tools AS mesh-dependencies
COPY locks/mesh.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --require-hashes --requirement mesh.lock

FROM mesh-dependencies AS service-dependencies
COPY locks/service.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --require-hashes --requirement service.lock

FROM service-dependencies AS ray-dependencies
COPY locks/ray.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --require-hashes --requirement ray.lock

FROM service-dependencies AS claude-dependencies
COPY locks/claude.lock ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --require-hashes --requirement claude.lock

FROM ${PYTHON_IMAGE} AS runtime
LABEL org.opencontainers.image.title="eldermesh" \
      org.opencontainers.image.description="Event-driven job mesh on Apache Kafka" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 mesh && useradd --uid 10001 --gid mesh --no-create-home --home-dir /var/lib/eldermesh mesh \
    && install --directory --owner mesh --group mesh --mode 0750 /var/lib/eldermesh /var/lib/eldermesh/blobs \
    && install --directory --owner mesh --group mesh /run/logins/redis /run/logins/ray /run/logins/flower \
        /run/logins/grafana
# HOME is where a read-only container may write; the code runs from a directory where nothing can be put.
ENV PATH=/opt/eldermesh/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/eldermesh MESH_DATA_DIR=/var/lib/eldermesh MESH_HEARTBEAT_FILE=/tmp/heartbeat
WORKDIR /opt/eldermesh
VOLUME /var/lib/eldermesh
# The signal that the services drain on.
STOPSIGNAL SIGTERM
ENTRYPOINT []
CMD ["mesh", "--help"]

# The code comes last, by a pip that stays outside.
FROM runtime AS mesh
COPY --from=mesh-dependencies /opt/eldermesh /opt/eldermesh
RUN --mount=from=tools,source=/opt/build,target=/opt/build --mount=from=wheel,source=/src/dist,target=/dist \
    PYTHONDONTWRITEBYTECODE= /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --no-deps --no-index /dist/*.whl
USER 10001:10001

FROM runtime AS service
COPY --from=service-dependencies /opt/eldermesh /opt/eldermesh
RUN --mount=from=tools,source=/opt/build,target=/opt/build --mount=from=wheel,source=/src/dist,target=/dist \
    PYTHONDONTWRITEBYTECODE= /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --no-deps --no-index /dist/*.whl
USER 10001:10001

FROM runtime AS ray
COPY --from=ray-dependencies /opt/eldermesh /opt/eldermesh
RUN --mount=from=tools,source=/opt/build,target=/opt/build --mount=from=wheel,source=/src/dist,target=/dist \
    PYTHONDONTWRITEBYTECODE= /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --no-deps --no-index /dist/*.whl
USER 10001:10001

FROM runtime AS claude
COPY --from=claude-dependencies /opt/eldermesh /opt/eldermesh
RUN --mount=from=tools,source=/opt/build,target=/opt/build --mount=from=wheel,source=/src/dist,target=/dist \
    PYTHONDONTWRITEBYTECODE= /opt/build/bin/pip --python /opt/eldermesh/bin/python install --quiet --no-deps --no-index /dist/*.whl
USER 10001:10001
