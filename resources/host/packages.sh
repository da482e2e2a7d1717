#!/bin/sh
# Install the missing Debian packages of a set: resources/host/packages.sh venv|engine|run|test|bench|docs
#
# Run it from the project's root. It is quick if nothing is missing. apt's output goes to .alts/apt.log. Installed
# services are not started, and running services stay as they are. Without permission to install (not root, not Debian)
# it prints one line for each missing package and exits with 1.
set -eu

want=${1:?usage: packages.sh venv|engine|run|test|bench|docs}
missing=""

# need PACKAGE WHY TEST...: the package is missing if the test fails.
need() {
    package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 || {
        missing="$missing $package"
        reasons="${reasons:-}$package|$why
"
    }
}

has() { command -v "$1"; }
# Debian keeps the server's own script out of PATH. The one in PATH refuses a private folder.
has_rabbitmq() { ls /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server; }
# Debian keeps the server's programs out of PATH, in one folder for each version.
has_postgresql() { ls /usr/lib/postgresql/*/bin/postgres; }
has_compose() { has docker-compose || docker compose version; }
# Without a service manager nothing mounts the control groups that an engine needs.
has_cgroups() { test -d /run/systemd/system || grep -qs ' /sys/fs/cgroup' /proc/mounts || has cgroupfs-mount; }

case $want in
    venv)
        need ca-certificates "to trust HTTPS servers" test -s "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
        need python3-venv "to make the virtualenv" "${PYTHON:-python3}" -c "import ensurepip, venv"
        ;;
    engine)
        need docker.io "the engine that machines are started on" has dockerd
        need cgroupfs-mount "for an engine without a service manager" has_cgroups
        ;;
    run)
        need mmdebstrap "to make base images where no registry answers" has mmdebstrap
        ;;
    test)
        need mmdebstrap "to make base images where no registry answers" has mmdebstrap
        need iproute2 "for a metadata service to keep machines from" has ip
        need gpg "to sign the tests' repositories" has gpg
        need rabbitmq-server "for the tests' private RabbitMQ" has_rabbitmq
        need postgresql "for the tests' private PostgreSQL" has_postgresql
        need docker-compose "for the test of docker-compose.yml" has_compose
        ;;
    bench)
        need piuparts "to compare with it" has piuparts
        need autopkgtest "to compare with it" has autopkgtest
        need podman "to compare with tmt" has podman
        need rsync "to compare with tmt" has rsync
        ;;
    docs)
        need graphviz "to draw docs/rooms.svg" has dot
        ;;
    *)
        echo "packages.sh: unknown set $want; choose venv, engine, run, test, bench or docs" >&2
        exit 2
        ;;
esac

[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    if command -v apt-get >/dev/null; then how="as root: apt-get install"; else how="install what your system calls"; fi
    printf '%s' "$reasons" | while IFS='|' read -r package why; do
        echo "missing: $package, $why ($how $package)" >&2
    done
    exit 1
fi

echo "installing Debian packages:$missing" >&2
if command -v epmd >/dev/null; then had_erlang=yes; else had_erlang=no; fi

# invoke-rc.d asks policy-rc.d before it starts a service: 101 forbids it (/usr/share/doc/init-system-helpers).
policy=/usr/sbin/policy-rc.d
saved=$policy.alts-saved
restore_policy() {
    rm -f "$policy"
    if [ -e "$saved" ] || [ -L "$saved" ]; then mv "$saved" "$policy"; fi
}
# A killed run has left the caller's own policy aside.
if [ -e "$saved" ] || [ -L "$saved" ]; then restore_policy; fi
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
trap restore_policy EXIT
trap 'exit 130' HUP INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
mkdir -p .alts
log=.alts/apt.log
apt() {
    apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1 || {
        echo "apt-get $* failed; the end of $log:" >&2
        tail -n 15 "$log" >&2
        exit 1
    }
}
apt update
# Recommended packages are not needed and may restart other services (needrestart).
# shellcheck disable=SC2086 # a list of words
apt install -y --no-install-recommends $missing

# Packages enable their services for the next boot. Services that only tests use must not start by themselves.
case $missing in
    *rabbitmq-server*)
        units="rabbitmq-server.service"
        [ "$had_erlang" = yes ] || units="$units epmd.service epmd.socket"
        if command -v systemctl >/dev/null; then
            # shellcheck disable=SC2086 # a list of words
            systemctl disable $units </dev/null >>"$log" 2>&1
        else
            update-rc.d rabbitmq-server disable >>"$log" 2>&1
        fi
        ;;
esac
case $missing in
    *postgresql*)
        if command -v systemctl >/dev/null; then
            systemctl disable postgresql.service </dev/null >>"$log" 2>&1
        else
            update-rc.d postgresql disable >>"$log" 2>&1
        fi
        ;;
esac
