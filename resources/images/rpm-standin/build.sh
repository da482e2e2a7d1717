#!/bin/sh
# Make the rpm-standin's root folder, as OUTPUT: a Debian tree turned into RPMs, which dnf then installs.
#
# Runs as root in a throw-away container of Debian 12 and needs its mirror. The other files of this folder lie beside
# it.
# usage: build.sh OUTPUT.tar
set -eu
output=$1
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d /standin.XXXXXX)
tree=$work/tree
repo=$work/repo
root=$work/root
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

step() { echo "== $*"; }

step "Debian packages to make it of"
# A Debian image may lack the update suites, or be some days old.
apt-get -qq update
apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io install \
    ca-certificates createrepo-c dnf file gpg gpg-agent hostname procps rpm > "$work/apt.log" 2>&1 || { cat "$work/apt.log"; exit 1; }

step "a copy of this system"
mkdir -p "$tree" "$repo" "$root"
# One file system, because the engine's mounts (/proc, /etc/resolv.conf) are not the system's.
tar -C / --one-file-system --exclude="./${work#/}" --exclude=".${here}" --exclude=./.dockerenv -cf - . | tar -C "$tree" -xf -

step "a package description of every file in it"
python3 "$here/make_spec.py" "$tree" --overlay "$here/overlay" --output "$work/standin.spec"

step "RPMs"
# The builder itself needs the stand-in's settings, most of all the database's place.
cp "$here"/overlay/usr/lib/rpm/macros.d/* /usr/lib/rpm/macros.d/
rpmbuild --define "_topdir $work/build" --define "_rpmdir $repo" --define "standin_tree $tree" -bb "$work/standin.spec" \
    > "$work/rpmbuild.log" 2>&1 || { tail -n 50 "$work/rpmbuild.log"; exit 1; }
createrepo_c --quiet --simple-md-filenames "$repo"

step "a root folder of these RPMs"
# The minimal installation of a RHEL-like system. The rest of the RPMs can be installed from the repository.
dnf -y --installroot="$root" --releasever=9 --setopt=reposdir=/nonexistent --repofrompath="base,file://$repo" \
    --nogpgcheck --setopt=install_weak_deps=False --setopt=cachedir="$work/cache" install \
    filesystem setup rpm-standin-release glibc glibc-common bash coreutils grep sed findutils tar gzip rpm dnf python3 \
    gpg procps-ng file shadow-utils util-linux util-linux-login ca-certificates hostname mawk diffutils \
    > "$work/dnf.log" 2>&1 || { tail -n 50 "$work/dnf.log"; exit 1; }
if grep -i "scriptlet failed" "$work/dnf.log"; then exit 1; fi
chroot "$root" ldconfig
# dnf's reason for a named package is "user", so none of them is an orphan when another package is removed.
rm -rf "$root"/var/cache/dnf "$root"/var/log/dnf* "$root"/var/log/hawkey.log
mkdir -p "$root/usr/share/rpm-standin"
mv "$repo" "$root/usr/share/rpm-standin/repo"
# The engine writes these files for every container.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/hosts"

step "packing"
tar -C "$root" --numeric-owner --sort=name -cf "$output" .
rm -rf "$work"
