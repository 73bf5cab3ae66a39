# Three images: the proxy (the default), with `--target parachute-kamal` the proxy for
# Kamal, and with `--target example` the sample web application of docker-compose.yml.
# The classic builder builds every stage above its target, so the cheap ones come first.

FROM golang:1.26-bookworm AS example-build
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
COPY example example
RUN go build -trimpath -ldflags="-w -s" -o bin/example ./example


FROM debian:bookworm-slim AS example
# nobody; a number, so that Kubernetes can tell that it is not root.
USER 65534:65534
EXPOSE 3000
ENTRYPOINT ["example"]
COPY --from=example-build /src/bin/example /usr/local/bin/
ARG VERSION=dev
LABEL org.opencontainers.image.title="parachute-example" \
      org.opencontainers.image.description="Sample web application to deploy with parachute" \
      org.opencontainers.image.source="https://github.com/parachute-proxy/parachute" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"


FROM golang:1.26-bookworm AS build
WORKDIR /src
ENV CGO_ENABLED=0
COPY go.mod go.sum ./
RUN go mod download
# Caddy takes minutes to download and compile, and seldom changes. So it is built here with
# an empty plugin, as a layer of its own. The real plugin then takes seconds.
COPY Makefile ./
COPY caddy/parachute/default.pgo caddy/parachute/
COPY tools/go.mod tools/go.sum tools/
RUN echo 'package parachute' >empty.go && make build && rm -r empty.go bin
COPY *.go ./
COPY internal internal
COPY nats nats
ARG VERSION=dev
# Any value builds the fleet on NATS in; see docs/FLEET.md.
ARG NATS=
RUN make build VERSION="$VERSION" NATS="$NATS"


# The proxy in the place of kamal-proxy: see docs/KAMAL.md. What Kamal relies on is as in
# kamal-proxy's image: the user, the paths, the label, and that there is no entry point.
FROM debian:bookworm-slim AS parachute-kamal
RUN groupadd --gid 1001 kamal-proxy && \
    useradd --uid 1001 --gid kamal-proxy --no-log-init --create-home --home-dir /home/kamal-proxy \
        --shell /usr/sbin/nologin kamal-proxy && \
    install -d -o kamal-proxy -g kamal-proxy /home/kamal-proxy/.config && \
    install -d -o kamal-proxy -g kamal-proxy -m 0700 /home/kamal-proxy/.config/kamal-proxy && \
    ln -s parachute /usr/local/bin/kamal-proxy
ENV HOME=/home/kamal-proxy
USER kamal-proxy:kamal-proxy
EXPOSE 80 443
STOPSIGNAL SIGTERM
# No VOLUME: Kamal names one. No HEALTHCHECK: Kamal does not look at it.
CMD ["kamal-proxy", "run"]
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/parachute /usr/local/bin/
ARG VERSION=dev
# Kamal finds the proxy by its title, to remove it.
LABEL org.opencontainers.image.title="kamal-proxy" \
      org.opencontainers.image.description="parachute in the place of kamal-proxy" \
      org.opencontainers.image.source="https://github.com/parachute-proxy/parachute" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"


FROM debian:bookworm-slim AS parachute
# /data and /config are Caddy's: certificates and parachute's state are in /data.
# The directory of the admin socket is the user's alone.
RUN groupadd --gid 10001 parachute && \
    useradd --uid 10001 --gid parachute --no-log-init --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin parachute && \
    install -d -o parachute -g parachute /data /config && \
    install -d -o parachute -g parachute -m 0700 /run/parachute
ENV XDG_DATA_HOME=/data \
    XDG_CONFIG_HOME=/config \
    PARACHUTE_ADMIN=unix//run/parachute/admin.sock
VOLUME ["/data", "/config"]

# Ports below 1024 are open to every user of a container since Docker 20.10, so
# the binary needs no cap_net_bind_service. With that capability it would not start
# under `--cap-drop ALL`. The exception is the host's network (`--network host`):
# add `--user root` there.
USER 10001:10001
EXPOSE 80 443 443/udp
STOPSIGNAL SIGTERM
# During the start period, a proxy that does not answer yet does not count as unhealthy.
HEALTHCHECK --start-period=15s --interval=10s --timeout=5s CMD ["parachute", "list", "-q"]
ENTRYPOINT ["parachute"]
CMD ["run"]

# For the certificate authority, and for targets that are https://.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/parachute /usr/local/bin/
ARG VERSION=dev
LABEL org.opencontainers.image.title="parachute" \
      org.opencontainers.image.description="HTTP proxy for zero-downtime deployments" \
      org.opencontainers.image.source="https://github.com/parachute-proxy/parachute" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
