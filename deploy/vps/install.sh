#!/bin/sh
# A server of your own, on Debian 12 or newer or Ubuntu 24.04 or newer, with a name that points to it and ports 80 and 443 open:
#
#   sudo sh install.sh voice.example.org voicemesh-signaling_VERSION_amd64.deb
#
# The package brings the systemd unit and draws a secret; Caddy in front of it gets the certificate, and renews it.

set -eu

NAME=${1:?usage: install.sh NAME PACKAGE.deb}
PACKAGE=$(realpath "${2:?usage: install.sh NAME PACKAGE.deb}")
HERE=$(dirname "$(realpath "$0")")

apt-get -q update
apt-get -y -q install --no-install-recommends "$PACKAGE" caddy curl

# The server listens for Caddy alone, and believes whom it says a request came from.
for setting in VOICEMESH_LISTEN=127.0.0.1:8080 VOICEMESH_TRUSTED_PROXY=127.0.0.1; do
    grep -qx "$setting" /etc/default/voicemesh || echo "$setting" >>/etc/default/voicemesh
done
systemctl restart voicemesh-signaling

# What Caddy serves already stays: this is a file beside it.
sed "s/^voice\.example\.org/$NAME/" "$HERE/Caddyfile" >/etc/caddy/voicemesh.caddy
grep -qx "import voicemesh.caddy" /etc/caddy/Caddyfile || echo "import voicemesh.caddy" >>/etc/caddy/Caddyfile
systemctl reload caddy

curl -fsS --retry 30 --retry-delay 2 --retry-all-errors "https://$NAME/healthz"
echo
echo "The address to give to peers is wss://$NAME; the page is at https://$NAME/r/ROOM."
