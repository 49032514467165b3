# One image for every process; what it runs is its command (Procfile, docker-compose.yml).
# No secret is ever part of it: they come as environment variables or as files at run time.
ARG PYTHON_IMAGE=python:3.13.9-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements/ requirements/
# The dependencies first and by themselves: this layer is made anew only when the lock changes.
RUN python -m venv /opt/worker \
    && /opt/worker/bin/pip install --no-cache-dir --no-deps --require-hashes \
        -r requirements/production.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml LICENSE README.md ./
COPY config/ config/
COPY worker/ worker/
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/worker/bin/pip install --no-cache-dir --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
# A number that no account of the host has, so that a way out of the container leads nowhere.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin worker
COPY --from=build /opt/worker /opt/worker
WORKDIR /app
# Here a volume may put others in their place; the package's own copy is deep in /opt.
COPY config/flower.py config/destinations.toml config/
# MALLOC_ARENA_MAX: with glibc's own choice a worker of 20 threads grows from 100 to 113 MB over its
# first million and a half records, by arenas that each keep what one batch needed; with two it stays
# at 95 (measured over 3 million, at the same speed).
ENV PATH=/opt/worker/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    INGEST_DESTINATIONS=/app/config/destinations.toml \
    INGEST_BEAT_SCHEDULE=/tmp/celerybeat-schedule
USER worker
# Exec form: the process gets the signals itself and can finish what it has begun.
CMD ["celery", "-A", "worker.app", "worker", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
