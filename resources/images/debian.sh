# Finish a Debian root folder, $1, so that it is what the official image is (made by debuerreotype).
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

# A machine that lives for seconds need not survive a power cut.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
# Package descriptions in other languages are fetched by nobody's wish.
echo 'Acquire::Languages "none";' > "$root/etc/apt/apt.conf.d/docker-no-languages"
# What was only suggested goes away with whatever suggested it.
echo 'Apt::AutoRemove::SuggestsImportant "false";' > "$root/etc/apt/apt.conf.d/docker-autoremove-suggests"

# The host's own name and resolver are nobody's business; the engine writes others over these.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
