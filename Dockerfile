# The image of the gateway: no shell, no package manager, no demo, not root.
#
#   docker build --build-arg FAPI_GATEWAY_COMMIT=$(git rev-parse HEAD) --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) .
#
# Where the program comes from: `builder`, or `optimized`, which takes four times as long to build and a tenth to a third less
# processor time for a request: `--build-arg PROGRAM=optimized`. An engine with BuildKit builds only the one that is named. The same
# sources make the same program in `builder`, byte for byte; `optimized` depends on what was counted while it was built.
ARG PROGRAM=builder

# Each base is named by its digest, of an index with both architectures; the tag before it is what it was when it was chosen.
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS toolchain
RUN cargo install --locked --debug cargo-cyclonedx --version 0.5.9
WORKDIR /build

FROM toolchain AS builder
# Dependencies first, with empty sources in place of ours: this layer is built anew only when a manifest, the lock file
# or a patched crate changes. Cargo reads the manifest of every member of the workspace, and wants a library where one
# names no other target, whether or not it is built.
COPY Cargo.toml Cargo.lock build.rs ./
COPY deploy/release deploy/remap deploy/sbom deploy/
COPY patches patches
COPY crates/fapi/Cargo.toml crates/fapi/Cargo.toml
COPY crates/probe/Cargo.toml crates/probe/Cargo.toml
COPY crates/sandbox/Cargo.toml crates/sandbox/Cargo.toml
COPY fuzz/Cargo.toml fuzz/Cargo.toml
RUN mkdir src crates/fapi/src crates/probe/src crates/sandbox/src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs crates/fapi/src/lib.rs crates/probe/src/lib.rs crates/sandbox/src/lib.rs \
 && deploy/release

# What `fapi-gateway version` says, and the time of the list of what is in it.
ARG FAPI_GATEWAY_COMMIT=
ARG SOURCE_DATE_EPOCH=
# Without the default features `demo` and `probe` the program has no test servers and forges no tokens; the sources of
# crates/sandbox and crates/probe do not even reach the builder. Cargo compares times, and those of a checkout can be older than the
# layer above: without `touch`, the empty program would count as up to date.
COPY LICENSE LICENSE
COPY crates/fapi/src crates/fapi/src
COPY src src
RUN touch src/main.rs src/lib.rs crates/fapi/src/lib.rs \
 && deploy/release \
 && deploy/sbom target/fapi-gateway.cdx.json \
 && install -D -m 0555 target/reproducible/release/fapi-gateway image/usr/local/bin/fapi-gateway \
 && install -D -m 0444 -t image/usr/local/share/doc/fapi-gateway LICENSE target/fapi-gateway.cdx.json

# A first program counts what it does most, and the second is arranged accordingly. Test servers send the first its requests;
# they are in neither of the two.
FROM toolchain AS optimized
RUN rustup component add llvm-tools
COPY . .
ARG FAPI_GATEWAY_COMMIT=
ARG SOURCE_DATE_EPOCH=
RUN deploy/build --no-default-features --features mimalloc,pkcs11 \
 && deploy/sbom target/fapi-gateway.cdx.json \
 && install -D -m 0555 target/optimized/fapi-gateway image/usr/local/bin/fapi-gateway \
 && install -D -m 0444 -t image/usr/local/share/doc/fapi-gateway LICENSE target/fapi-gateway.cdx.json

FROM ${PROGRAM} AS program

FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
COPY --from=program --chown=0:0 /build/image/ /

ARG FAPI_GATEWAY_COMMIT=
LABEL org.opencontainers.image.title="fapi-gateway" \
      org.opencontainers.image.description="A reverse proxy that enforces FAPI in front of resource servers" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${FAPI_GATEWAY_COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"

# By number, since `runAsNonRoot` cannot judge a name. The program writes no file unless `audit.destination` names one, so the root
# file system may be read-only.
USER 65532:65532
# 8443: https, 9464: /metrics, /livez and /readyz
EXPOSE 8443 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/fapi-gateway"]
CMD ["run", "--config", "/etc/fapi-gateway/gateway.yaml"]
