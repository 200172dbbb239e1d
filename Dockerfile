# docker build -t ser_gpu .
# docker run --rm -v "$PWD:/clips" ser_gpu predict clip.wav
#
# With CUDA, start from an image that has torch for it, and give the container the GPUs (docker run --gpus all):
# docker build -t ser_gpu --build-arg BASE=pytorch/pytorch:2.11.0-cuda13.0-cudnn9-runtime .
ARG BASE=python:3.12-slim
FROM ${BASE}

RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/ser_gpu
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY examples/sample.wav examples/
COPY docs/responsible-use.md docs/
COPY ser_gpu ser_gpu
COPY weights/DEFAULT weights/LICENSE weights/README.md weights/ser_ravdess.pth weights/ser_voices.pth weights/

# For a CPU alone, the address of torch's CPU wheels here makes the image several GB smaller.
ARG PIP_EXTRA_INDEX_URL=
ARG EXTRAS=
RUN pip install --no-cache-dir --break-system-packages ".${EXTRAS:+[$EXTRAS]}"

WORKDIR /clips
USER 1000
ENTRYPOINT ["ser-gpu"]
CMD ["--help"]
