# kdm's image. `make build` builds it, with the labels that only the checkout knows.
#
# Two builds of the same files on the same base have the same layers: every dependency is locked by hash, nothing keeps
# a time of its own, and bytecode is made here (finish.py says how). For a base that cannot change either, name it by
# digest: make build BASE=python:3.11-slim-bookworm@sha256:...

# Builds, and needs Python 3.11 or newer with venv.
ARG BASE=python:3.11-slim-bookworm
# Runs, and needs the same Python at the same path. No shell, pip or package manager: distroless will do.
ARG RUNTIME=${BASE}

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt requirements/runtime.txt deploy/image/finish.py /build/
# pip and hatchling live in an environment of their own, of which nothing gets into the image.
RUN python3 -m venv /build/tools && python3 -m venv --without-pip /opt/kdm \
    && /build/tools/bin/pip install --require-hashes --only-binary=:all: -r /build/build.txt \
    && /build/tools/bin/pip --python=/opt/kdm install --no-compile --require-hashes --only-binary=:all: \
        -r /build/runtime.txt \
    && python3 /build/finish.py /opt/kdm /layers/dependencies
COPY pyproject.toml README.md /build/source/
COPY src /build/source/src
RUN /build/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir=/build/wheels /build/source \
    && /build/tools/bin/pip --python=/opt/kdm install --no-compile --no-deps --no-index \
        --find-links=/build/wheels kdm-service \
    && python3 /build/finish.py /opt/kdm /layers/kdm /layers/dependencies

FROM ${RUNTIME}
LABEL org.opencontainers.image.title="kdm" \
      org.opencontainers.image.description="Read and change how many replicas Kubernetes Deployments run, over mTLS."
# Two layers, for the first changes with the lock alone.
COPY --from=build /layers/dependencies/ /
COPY --from=build /layers/kdm/ /
ENV PATH=/opt/kdm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A container's loopback is reached by nobody else.
ENV KDM_HOST=0.0.0.0 KDM_OPS_HOST=0.0.0.0
# Numeric, for runAsNonRoot cannot look up a name; it owns nothing.
USER 65532:65532
EXPOSE 8443 8081
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/kdm/bin/kdm"]
CMD ["serve"]
