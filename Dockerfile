# Bailey on Debian 12. Two stages: the compiler and its libraries stay behind.
FROM debian:bookworm AS build
WORKDIR /src
COPY . .
RUN tools/setup build && make && make install PREFIX=/usr DESTDIR=/out

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libyaml-0-2 libwebsockets17 librabbitmq4 libssl3 zlib1g libzstd1 liblz4-1 librocksdb7.8 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/bailey --create-home bailey
COPY --from=build /out/ /
USER bailey
WORKDIR /var/lib/bailey
EXPOSE 8080
# Ready: every route runs. Needs `admin: { listen: 0.0.0.0:8080 }` (or 127.0.0.1) in the configuration.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3 | grep -q ' 200 '"]
# SIGTERM drains: `docker stop` loses nothing, given the time that drain_timeout allows.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/bailey"]
CMD ["run", "/etc/bailey/bailey.yaml"]
