# syntax=docker/dockerfile:1

# Where the program of the image comes from: `builder`, or `optimized`, which takes four times as long to build and a tenth to
# a third less processor time for a request: `docker build --build-arg PROGRAM=optimized`. An engine with BuildKit builds
# only the one that is named.
ARG PROGRAM=builder

# The base images are named by their tag. Where your pipeline can resolve digests, pin them: NAME:TAG@sha256:...
FROM rust:1.95-bookworm AS builder
WORKDIR /build

# Dependencies first, with empty sources in place of ours: this layer is built anew only when a manifest, the lock file
# or a patched crate changes. Cargo reads the manifest of every member of the workspace, and wants a library where one
# names no other target, whether or not it is built.
COPY Cargo.toml Cargo.lock build.rs ./
COPY patches patches
COPY crates/fapi/Cargo.toml crates/fapi/Cargo.toml
COPY crates/sandbox/Cargo.toml crates/sandbox/Cargo.toml
COPY fuzz/Cargo.toml fuzz/Cargo.toml
RUN mkdir src crates/fapi/src crates/sandbox/src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs crates/fapi/src/lib.rs crates/sandbox/src/lib.rs \
 && cargo build --release --locked --no-default-features --features mimalloc --bin fapi-gateway

# What `fapi-gateway version` says: `docker build --build-arg FAPI_GATEWAY_COMMIT=$(git rev-parse HEAD)`.
ARG FAPI_GATEWAY_COMMIT=
# Without the default feature `demo` the program has no test servers and forges no tokens; the sources of
# crates/sandbox do not even reach the builder. Cargo compares times, and those of a checkout can be older than the
# layer above: without `touch`, the empty program would count as up to date.
COPY crates/fapi/src crates/fapi/src
COPY src src
RUN touch src/main.rs src/lib.rs crates/fapi/src/lib.rs \
 && cargo build --release --locked --no-default-features --features mimalloc --bin fapi-gateway

# A first program counts what it does most, and the second is arranged accordingly. Test servers send the first its requests;
# they are in neither of the two.
FROM rust:1.95-bookworm AS optimized
RUN rustup component add llvm-tools
WORKDIR /build
COPY . .
ARG FAPI_GATEWAY_COMMIT=
RUN deploy/build --no-default-features --features mimalloc \
 && mkdir -p target/release \
 && cp target/optimized/fapi-gateway target/release/

FROM ${PROGRAM} AS program

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=program --chown=0:0 --chmod=0555 /build/target/release/fapi-gateway /usr/local/bin/fapi-gateway

# By number, since `runAsNonRoot` cannot judge a name. No shell, no package manager; the program writes no file unless
# `audit.destination` names one, so the root file system may be read-only.
USER 65532:65532
# 8443: https, 9464: /metrics, /livez and /readyz
EXPOSE 8443 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/fapi-gateway"]
CMD ["run", "--config", "/etc/fapi-gateway/gateway.yaml"]
