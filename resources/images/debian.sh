# Turn a Debian root folder, $1, into the same state as the official image (made by debuerreotype).
#
# Left out are the settings that hide something from a test (documentation, translations of packages) or that only save
# space in layers at the cost of time (docker-clean, docker-gzip-indexes).
set -eu
root=$1

# No service starts by itself in a container (invoke-rc.d(8)): 101 says "forbidden by policy".
cat > "$root/usr/sbin/policy-rc.d" << 'EOF'
#!/bin/sh
exit 101
EOF
chmod 0755 "$root/usr/sbin/policy-rc.d"

# A machine that lives for seconds need not survive a power failure.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
# apt would download package descriptions in other languages, which no test needs.
echo 'Acquire::Languages "none";' > "$root/etc/apt/apt.conf.d/docker-no-languages"
# A package that was only suggested is removed with the suggesting package.
echo 'Apt::AutoRemove::SuggestsImportant "false";' > "$root/etc/apt/apt.conf.d/docker-autoremove-suggests"

# The host's own name and resolver stay out of the image. The engine writes others over these files.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
