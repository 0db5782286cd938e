ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# pip and the build backend stay in a venv of their own; only /opt/venv goes into the image.
COPY constraints.txt ./
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --quiet -c constraints.txt hatchling \
    && python3 -m venv --without-pip /opt/venv

# torch in a layer of its own, so that only a change of constraints.txt downloads it again.
ARG TORCH_INDEX_URL=""
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        /opt/tools/bin/pip --python /opt/venv/bin/python install --no-deps -c constraints.txt --index-url "$TORCH_INDEX_URL" torch; \
    fi \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install -c constraints.txt torch

COPY pyproject.toml ./
RUN python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['otel'], sep='\n')" > requirements.txt \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install -c constraints.txt -r requirements.txt

# Nothing here runs in the service: tests and their programs, headers and sources for compilers, symbols for debuggers.
# Libraries in *.libs have been rewritten by auditwheel, after which strip breaks them.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null && rm -rf /var/lib/apt/lists/* \
    && cd /opt/venv/lib/python3.*/site-packages \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && rm -rf torch/test torch/include torch/share \
    && find mpmath networkx numpy sympy -type d -name tests -prune -exec rm -rf {} + \
    && find . -type f \( -name '*.a' -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.pxd' -o -name '*.pyx' \) -delete \
    && find . -type f -name '*.so*' ! -path '*.libs/*' ! -path './nvidia/*' ! -name '*cuda*' -exec strip --strip-unneeded {} +


# The compiler of the C++ kernel stays behind in this stage.
FROM dependencies AS package
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ >/dev/null && rm -rf /var/lib/apt/lists/*
COPY . ./
RUN python3 -m attnloss.kernels.build \
    && /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-deps --root /package dist/*.whl


# A change of code changes only the last, small layer of the image.
FROM ${BASE_IMAGE}
RUN useradd --non-unique --uid 1000 --gid 0 --no-create-home --home-dir /tmp attnloss \
    && install -d -m 0775 /models
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /package /
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ATTNLOSS_HOST=0.0.0.0 \
    ATTNLOSS_PORT=8000 \
    HF_HOME=/models
RUN --mount=type=bind,source=tools/sbom.py,target=/run/sbom.py python /run/sbom.py /usr/share/attnloss
USER 1000:0
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# No proxy: the environment of a container may name one, and it would be asked for 127.0.0.1.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --start-interval=1s --retries=3 CMD ["python", "-I", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['ATTNLOSS_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["attnloss"]
CMD ["serve"]
