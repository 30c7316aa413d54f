# Aviary's one image. The role is the command: worker, bridge, webhook or serve.

FROM python:3.11.14-slim-bookworm AS packages
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/aviary \
 && /opt/aviary/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 aviary \
 && useradd --uid 10001 --gid aviary --home-dir /var/lib/aviary --no-create-home \
      --shell /usr/sbin/nologin aviary \
 && install -d -o aviary -g aviary /etc/aviary /var/lib/aviary /var/lib/aviary/envoy

COPY --from=packages /opt/aviary /opt/aviary
WORKDIR /app
COPY LICENSE pyproject.toml ./
COPY schemas schemas
COPY analysis analysis
COPY adapters adapters
COPY activities activities
COPY workflows workflows
COPY aviary aviary

# Health and metrics answer on one known port in every role; the webhook has its own as well.
ENV PATH=/opt/aviary/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    AVIARY_CATALOG=/etc/aviary/catalog.yaml \
    AVIARY_LOG_FORMAT=json \
    AVIARY_METRICS_HOST=0.0.0.0 \
    AVIARY_METRICS_PORT=9464 \
    AVIARY_WEBHOOK_HOST=0.0.0.0 \
    AVIARY_WEBHOOK_PORT=8088

USER 10001:10001
EXPOSE 8088 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "aviary"]
CMD ["--help"]
