# The signaling server and nothing else: rooms, introductions, relay, web page. It has no sound, so neither libopus nor
# ALSA is here.
#
#   docker build -t voicemesh .
#   docker run --rm -p 8080:8080 -e VOICEMESH_SECRET="$(openssl rand -hex 32)" voicemesh
#
# Give it the same VOICEMESH_SECRET each time: with it, passwords of rooms, and who may moderate them, survive a restart.
#
# It listens on $PORT (8080 unless the host says otherwise) in plain HTTP; TLS is the business of the host's edge, or of
# --tls-cert and --tls-key. Its health is GET /healthz; there is no HEALTHCHECK here, because the hosts ask over HTTP and
# this image has nothing else to ask with.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package voicemesh-signaling

FROM debian:bookworm-slim
COPY --from=build /src/target/release/voicemesh-signaling /usr/local/bin/
# A number and not a name, so that a host can see that it is not root.
USER 65534:65534
ENV PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["voicemesh-signaling"]
