#!/bin/sh
# Koyeb, from the published image, with its command (https://www.koyeb.com/docs/build-and-deploy/cli/installation; koyeb login).
# Koyeb reads no file of the repository, so this is the description of the service.

set -eu

# The same secret for every start: with it, passwords of rooms, and who may moderate them, survive a restart.
koyeb secrets get voicemesh-secret >/dev/null 2>&1 ||
    openssl rand -hex 32 | tr -d '\n' | koyeb secrets create voicemesh-secret --value-from-stdin

# At most one instance: rooms live in one process's memory. The free one sleeps after an hour without connections.
koyeb apps init voicemesh \
    --docker ghcr.io/OWNER/voicemesh-signaling:0.1.0 \
    --instance-type free \
    --regions fra \
    --min-scale 0 --max-scale 1 \
    --ports 8080:http --routes /:8080 \
    --checks 8080:http:/healthz \
    --env PORT=8080 \
    --env VOICEMESH_TRUSTED_PROXY=private \
    --env 'VOICEMESH_SECRET={{secret.voicemesh-secret}}'
