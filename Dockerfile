# The server and its client, on a small base. There is no PostgreSQL in the image: set DATABASE_URL.
#
#   docker build -t secure-connect-reports .

FROM rust:1.92-slim-bookworm AS build
WORKDIR /src

# The dependencies first, with empty sources in the place of ours: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it \
    && echo 'fn main() {}' | tee build.rs src/main.rs tests/it/main.rs > /dev/null \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r build.rs src

COPY build.rs ./
COPY proto proto
COPY migrations migrations
COPY examples examples
COPY src src
# Cargo goes by times, and those of the copied files may be older than the build above.
RUN touch build.rs src/lib.rs src/main.rs \
    && cargo build --release --locked

# The same release of Debian, so that the glibc is the one that the program was linked with.
FROM debian:bookworm-slim
# Whom to trust: an issuer's keys are fetched by HTTPS. For authorities of your own, mount a file and set SSL_CERT_FILE.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /usr/share/doc/secure-connect-reports/LICENSE
COPY --from=build /src/target/release/secure-connect-reports /usr/local/bin/secure-connect-reports
# Any account will do: nothing is written but temporary files of large imports, in /tmp.
USER 10001:10001
WORKDIR /tmp
# Asks http://127.0.0.1:50051, or the server of SCR_SERVER. Where TLS is spoken: SCR_SERVER=https://localhost:50051 and
# SCR_CA_FILE, SCR_TLS_SERVER_NAME where the certificate has another name, and SCR_CLIENT_CERT and SCR_CLIENT_KEY where
# client certificates are required.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["secure-connect-reports", "healthcheck"]
ENTRYPOINT ["secure-connect-reports"]
CMD ["serve"]
