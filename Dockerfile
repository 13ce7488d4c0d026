# The image of the service, see docs/container.md:
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" --tag goldbook .
# The builder needs Rust, a C compiler and Debian's ca-certificates. What the program runs on comes from there, too, so there
# is no second image, and each architecture is built by a builder of its own.
ARG BUILDER_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm

# The crates alone, which a change of the sources leaves as they are.
FROM ${BUILDER_IMAGE} AS dependencies
WORKDIR /goldbook
COPY Cargo.toml Cargo.lock ./
COPY crates/api/Cargo.toml crates/api/
COPY crates/business-time/Cargo.toml crates/business-time/
COPY crates/embedded-postgres/Cargo.toml crates/embedded-postgres/
COPY crates/purchase-models/Cargo.toml crates/purchase-models/
COPY scripts/build-release.sh scripts/
RUN mkdir src crates/api/src crates/business-time/src crates/embedded-postgres/src \
        crates/purchase-models/src \
    && echo 'fn main() {}' >build.rs \
    && cp build.rs src/main.rs \
    && cp build.rs crates/api/build.rs \
    && touch src/lib.rs crates/api/src/lib.rs crates/business-time/src/lib.rs crates/embedded-postgres/src/lib.rs \
        crates/purchase-models/src/lib.rs \
    && scripts/build-release.sh \
    # Nothing may be left of these: Cargo takes what is older than the build for built.
    && cargo clean --release --locked --package goldbook --package goldbook-api --package business-time \
        --package embedded-postgres --package purchase-models

FROM dependencies AS build
COPY . .
ARG VERSION=0.1.0
ARG COMMIT=unknown
RUN GOLDBOOK_COMMIT="${COMMIT}" scripts/build-release.sh --offline \
    && scripts/make-image-root.sh target/release/goldbook "${VERSION}" /image

FROM scratch
COPY --from=build /image /
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Goldbook" \
    org.opencontainers.image.description="The loyalty book of record: one gRPC service on Postgres" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${COMMIT}"
# Other containers reach the service only if it listens for them. It then refuses to start unless it asks callers who they are.
ENV GOLDBOOK_LISTEN=0.0.0.0:50051
USER 65532:65532
WORKDIR /home/goldbook
# Calls, and metrics.
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/goldbook"]
CMD ["serve"]
