#!/bin/sh
# Make a local base image for docker-compose.yml without a registry: Debian 12 from a Debian mirror.
#
# usage: resources/compose/base-image.sh [NAME:TAG]   (alts-base:local)
#
# Then put ALTS_BASE_IMAGE=alts-base:local into .env. The image trusts the same certificate authorities as this host, so
# the builds reach the package indexes on a network that intercepts TLS, too. Needs mmdebstrap, root and a Docker
# engine. MIRROR names a Debian mirror instead of the distribution's own. FROM_IMAGE names an image of Debian 12 that the
# engine has: it is built on, and mmdebstrap is not needed.
set -eu

name=${1:-alts-base:local}
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
mirror=${MIRROR:-}
from=${FROM_IMAGE:-}

[ -n "$from" ] || command -v mmdebstrap >/dev/null || {
    echo "missing: mmdebstrap (as root: apt-get install mmdebstrap)" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

# update-ca-certificates takes one certificate a file. Debian has most of them anyway, which does no harm.
mkdir "$work/authorities"
awk -v folder="$work/authorities" '
    /BEGIN CERTIFICATE/ { file = sprintf("%s/host-%04d.crt", folder, ++number) }
    file { print > file }
    /END CERTIFICATE/ { close(file); file = "" }
' "$bundle"

# Python's clients bring their own lists of authorities. These variables make them use the system's.
bundle_inside=/etc/ssl/certs/ca-certificates.crt
environment="SSL_CERT_FILE=$bundle_inside PIP_CERT=$bundle_inside REQUESTS_CA_BUNDLE=$bundle_inside"

if [ -n "$from" ]; then
    cat >"$work/Dockerfile" <<EOF
FROM $from
COPY authorities /usr/local/share/ca-certificates
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && update-ca-certificates
ENV $environment
CMD ["bash"]
EOF
    docker build --quiet --tag "$name" "$work" >/dev/null
    echo "$name"
    exit
fi

# shellcheck disable=SC2016 # $1 is the hook's, see mmdebstrap(1)
mmdebstrap --variant=apt --include=ca-certificates --quiet \
    --customize-hook="copy-in '$work/authorities' /usr/local/share/ca-certificates" \
    --customize-hook='chroot "$1" update-ca-certificates >/dev/null 2>&1' \
    bookworm "$work/root.tar" ${mirror:+"$mirror"} </dev/null >&2

docker import \
    --change 'CMD ["bash"]' \
    --change "ENV $environment" \
    "$work/root.tar" "$name" >/dev/null
echo "$name"
