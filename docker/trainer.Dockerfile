FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY plugins plugins
COPY server server
COPY trainers trainers
# The project itself is what is installed, from this folder, for `endcap retrain` with both extras. Of PyTorch, pip takes
# the CPU build: its version 2.13.0+cpu counts as newer than the 2.13.0 of PyPI.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu '.[server,train]'
RUN mkdir /data && chown 65534 /data
USER 65534
ENTRYPOINT ["endcap"]
