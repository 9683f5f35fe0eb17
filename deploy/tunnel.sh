#!/bin/sh
# Your own machine, for an evening: an https address without an account and without a forwarded port, until Ctrl-C. cloudflared says it.
voicemesh-signaling --listen 127.0.0.1:8080 --trusted-proxy 127.0.0.1 &
trap 'kill $!' EXIT INT TERM
cloudflared tunnel --url http://localhost:8080
