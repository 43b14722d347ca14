# For those who have Docker; `cargo xtask image` makes the same without it.
#
#   docker build --tag throng:0.1.0 .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates
WORKDIR /throng
COPY . .
# A target that is named keeps the flag away from build scripts and macros, which cannot be linked that way.
RUN RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    cargo build --release --locked --bin throng --target "$(rustc --print host-tuple)" \
    && cp "target/$(rustc --print host-tuple)/release/throng" /usr/local/bin/throng

FROM scratch
COPY --from=build /usr/local/bin/throng /bin/throng
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/bin/throng"]
