FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY plugins plugins
COPY server server
COPY trainers trainers
# The project itself is what is installed, from this folder.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[server]' \
    && python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
RUN mkdir /data && chown 65534 /data
USER 65534
ENV ENDCAP_ADDRESS=0.0.0.0:50051
CMD ["endcap", "serve"]
