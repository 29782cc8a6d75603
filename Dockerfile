# syntax=docker/dockerfile:1
# Two stages: the first builds the environment from the lock file, the second holds only that.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/healer
COPY requirements.lock .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/healer/bin/pip install --require-hashes -r requirements.lock
COPY . .
RUN /opt/healer/bin/pip install --no-deps --no-build-isolation . \
 && /opt/healer/bin/python -m compileall -q /opt/healer/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="healer" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/healer /opt/healer
ENV PATH=/opt/healer/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
# Where the default store lies; a volume in a cluster.
RUN install -d -o 65532 -g 65532 /var/lib/healer
USER 65532:65532
WORKDIR /var/lib/healer
EXPOSE 8088 9401
ENTRYPOINT ["healer"]
CMD ["run", "--config", "/etc/healer/healer.yaml"]
