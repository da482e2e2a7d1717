#!/bin/sh
# Ensure that a Docker engine answers: use the one at DOCKER_HOST or the usual socket, or else start one.
#
# With systemd the script starts its unit. Otherwise dockerd runs in the background, with its log in .alts/dockerd.log.
# usage: resources/host/engine.sh PYTHON, from the project's root; PYTHON has the docker package.
set -eu

python=${1:?usage: engine.sh PYTHON}
log=.alts/dockerd.log

answers() {
    "$python" -c '
import sys

import docker

try:
    docker.from_env(timeout=10).ping()
except docker.errors.DockerException as error:
    sys.exit(str(error))
' 2>"${1:-/dev/null}"
}

# wait_for SECONDS [PID]: wait until the engine answers, the time is over, or the process is gone.
wait_for() {
    limit=$(($(date +%s) + $1))
    while ! answers; do
        if [ "$(date +%s)" -ge "$limit" ]; then return 1; fi
        if [ -n "${2:-}" ] && ! kill -0 "$2" 2>/dev/null; then return 1; fi
        sleep 0.5
    done
}

answers && exit 0

mkdir -p .alts
if [ -n "${DOCKER_HOST:-}" ]; then
    answers .alts/engine-error || true
    echo "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST: $(tail -n 1 .alts/engine-error)" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    if [ -S /var/run/docker.sock ] && ! [ -w /var/run/docker.sock ]; then
        echo "the Docker engine is closed to you: as root, usermod -aG docker $(id -un), then log in again" >&2
        exit 1
    fi
    resources/host/packages.sh engine
    echo "no Docker engine answers: as root, start it with systemctl start docker, or dockerd" >&2
    exit 1
fi

resources/host/packages.sh engine
if [ -d /run/systemd/system ]; then
    echo "starting the Docker engine: systemctl start docker" >&2
    if ! systemctl start docker </dev/null || ! wait_for 60; then
        echo "the Docker engine did not start; what its log says (journalctl -u docker):" >&2
        journalctl --unit docker --lines 20 --no-pager >&2 || true
        exit 1
    fi
    exit 0
fi

echo "starting the Docker engine: dockerd, log in $log" >&2
# Without a service manager the control groups are not mounted.
if ! grep -qs ' /sys/fs/cgroup' /proc/mounts && command -v cgroupfs-mount >/dev/null; then cgroupfs-mount; fi
# dockerd refuses to start if the process of its pid file lives. After a crash another process may have that number.
pidfile=/var/run/docker.pid
if [ -e "$pidfile" ] && [ "$(cat "/proc/$(cat "$pidfile")/comm" 2>/dev/null)" != dockerd ]; then rm -f "$pidfile"; fi
# Go's garbage collector takes a tenth of the processor time that a container costs, also in the engine's short-lived
# children. It runs less often so, for some sixty megabytes.
GOGC=400 setsid nohup dockerd </dev/null >>"$log" 2>&1 &
if ! wait_for 60 $!; then
    echo "the Docker engine did not start; the end of $log:" >&2
    tail -n 20 "$log" >&2
    exit 1
fi
