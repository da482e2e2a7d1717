#!/bin/sh
# Start RabbitMQ with one user, `alts`, whose password is ALTS_PASSWORD. A changed password takes effect.
set -eu

case ${ALTS_PASSWORD:?is not set} in
    *[!A-Za-z0-9]*)
        echo "ALTS_PASSWORD may hold only letters and digits: make one with openssl rand -hex 16" >&2
        exit 1
        ;;
esac

umask 077
# Definitions are read at every start. With them RabbitMQ makes no user `guest` (rabbitmq.com/definitions.html).
cat >/tmp/definitions.json <<EOF
{
  "users": [{"name": "alts", "password": "$ALTS_PASSWORD", "tags": ""}],
  "vhosts": [{"name": "/"}],
  "permissions": [{"user": "alts", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]
}
EOF
cat >/tmp/rabbitmq.conf <<EOF
load_definitions = /tmp/definitions.json
listeners.tcp.1 = 0.0.0.0:5672
log.console.level = info
EOF
unset ALTS_PASSWORD

# The one in PATH wants to be root and starts as another user.
exec /usr/lib/rabbitmq/bin/rabbitmq-server
