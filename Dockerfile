FROM python:3.12-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY api api
COPY services services
RUN python -m venv /opt/idealfit \
 && /opt/idealfit/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/run.txt \
 && /opt/idealfit/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.12-slim-trixie
COPY --from=build /opt/idealfit /opt/idealfit
RUN useradd --system --uid 10001 --no-create-home idealfit \
 && install -d -o idealfit -g idealfit -m 0700 /data
ENV PATH=/opt/idealfit/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    IDEALFIT_DATA=/data \
    HOST=0.0.0.0 \
    PORT=8000
USER idealfit
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/ready', timeout=4)"]
CMD ["idealfit", "serve"]
