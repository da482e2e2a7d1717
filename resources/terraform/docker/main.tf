# Machines under test, each with its own network. The attributes used are in both the registry's kreuzwerker/docker 3.6 and
# the embedded provider.

provider "docker" {
  host = var.docker_host
}

# Machines cannot reach each other: the engine forwards nothing between bridges.
resource "docker_network" "instance" {
  for_each = var.machines

  name    = each.key
  driver  = "bridge"
  options = var.network_options

  dynamic "ipam_config" {
    for_each = each.value.subnet == "" ? [] : [each.value.subnet]

    # Without a chosen gateway dockerd 20.10 panics at every start (libnetwork, reservePools) if it was killed between
    # the release of the network's addresses and the removal of the network.
    content {
      subnet  = ipam_config.value
      gateway = cidrhost(ipam_config.value, 1)
    }
  }

  dynamic "labels" {
    for_each = each.value.labels

    content {
      label = labels.key
      value = labels.value
    }
  }
}

resource "docker_container" "instance" {
  for_each = var.machines

  name     = each.key
  hostname = each.value.hostname
  image    = var.image

  # The machine runs only the commands that are sent into it. Its first process cannot be killed from inside
  # (pid_namespaces(7)), so the machine survives a script that kills every process it sees. An init would end with its
  # only child. If the parent ignores SIGCHLD, the kernel itself reaps orphans (wait(2)). Shells do not pass that on,
  # env(1) of coreutils 8.31 does. With an older env zombies stay, and count as processes.
  command = ["/bin/sh", "-c", <<-EOT
    env --ignore-signal=CHLD true 2>/dev/null && exec env --ignore-signal=CHLD sleep infinity
    exec sleep infinity
  EOT
  ]
  must_run = true

  network_mode  = docker_network.instance[each.key].name
  security_opts = ["no-new-privileges"]
  # Capabilities that maintainer scripts may need stay: mknod (Debian Policy 10.6), chroot, setcap, binding a low port.
  capabilities {
    drop = ["CAP_NET_RAW"]
  }

  memory      = var.memory_mb
  memory_swap = var.memory_mb
  cpus        = tostring(var.cpus)
  shm_size    = 64
  # A script that writes to /proc/1/fd/1 would fill the host's disk with a log that nothing reads.
  log_driver = "none"

  destroy_grace_seconds = 0
  remove_volumes        = true

  dynamic "labels" {
    for_each = each.value.labels

    content {
      label = labels.key
      value = labels.value
    }
  }
}
