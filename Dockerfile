# One image for all our processes; the command chooses which.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# For publishers by SRT.
RUN apt-get update && apt-get install -y --no-install-recommends libsrt1.5-openssl && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt /wheels/*.whl \
 && useradd --system --create-home engagement
USER engagement
WORKDIR /home/engagement
ENTRYPOINT ["engagement"]
