# syntax=docker/dockerfile:1
# Two stages: the first builds the environment from the lock file, the second holds only that.
# Nothing in it depends on the machine: `docker buildx build --platform linux/amd64,linux/arm64`
# makes both architectures, `--sbom=true --provenance=true` adds what is in them and whence.
# Pin the base by digest where you build for production: --build-arg PYTHON=python@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# A mirror of the package index, where the usual one is slow or out of reach.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/healer
COPY requirements-image.lock .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/healer/bin/python -m pip install --require-hashes -r requirements-image.lock
COPY . .
RUN /opt/healer/bin/python -m pip install --no-deps --no-build-isolation . \
 && /opt/healer/bin/python -m pip uninstall --yes --quiet setuptools pip \
 && find /opt/healer/lib -type d -name tests -prune -exec rm -rf {} + \
 && python -m compileall -q -j 0 /opt/healer/lib

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="healer" \
      org.opencontainers.image.description="A self-healing daemon for LLM serving on GPU Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/healer /opt/healer
COPY LICENSE THIRD_PARTY_NOTICES.md /usr/share/doc/healer/
ENV PATH=/opt/healer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
# Where the default store lies; a volume in a cluster. Nothing else is ever written but /tmp.
RUN install -d -o 65532 -g 65532 /var/lib/healer
USER 65532:65532
WORKDIR /var/lib/healer
EXPOSE 8088 9401
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8088/livez', timeout=4)"]
ENTRYPOINT ["healer"]
CMD ["run", "--config", "/etc/healer/healer.yaml"]
