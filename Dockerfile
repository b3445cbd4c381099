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
# Not /opt/kdm's own: pip stays here.
RUN ["python3", "-m", "venv", "/build"]
RUN ["python3", "-m", "venv", "--without-pip", "/opt/kdm"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt requirements/runtime.txt /requirements/
RUN ["/build/bin/pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", "/requirements/build.txt"]
RUN ["/build/bin/pip", "--python=/opt/kdm", "install", "--quiet", "--no-compile", "--require-hashes", \
     "--only-binary=:all:", "-r", "/requirements/runtime.txt"]
COPY deploy/image/finish.py /finish.py
RUN ["python3", "/finish.py", "/opt/kdm", "/layers/dependencies"]

COPY pyproject.toml README.md /source/
COPY src /source/src
RUN ["/build/bin/pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir=/wheels", "/source"]
RUN ["/build/bin/pip", "--python=/opt/kdm", "install", "--quiet", "--no-compile", "--no-deps", "--no-index", \
     "--find-links=/wheels", "kdm-service"]
RUN ["python3", "/finish.py", "/opt/kdm", "/layers/kdm", "/layers/dependencies"]

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
