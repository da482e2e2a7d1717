# One machine under test, and a network that is its own.
# Only attributes that the registry's kreuzwerker/docker 3.6 and the embedded provider both have.

provider "docker" {
  host = var.docker_host
}

# Machines cannot reach each other: the engine passes nothing on from one bridge to another.
resource "docker_network" "instance" {
  name    = var.name
  driver  = "bridge"
  options = var.network_options

  dynamic "ipam_config" {
    for_each = var.subnet == "" ? [] : [var.subnet]

    # A network without a gateway of its own choice makes dockerd 20.10 panic at every start (libnetwork, reservePools)
    # when it was killed between giving the network's addresses back and forgetting the network.
    content {
      subnet  = ipam_config.value
      gateway = cidrhost(ipam_config.value, 1)
    }
  }

  dynamic "labels" {
    for_each = var.labels

    content {
      label = labels.key
      value = labels.value
    }
  }
}

resource "docker_container" "instance" {
  name     = var.name
  hostname = var.hostname
  image    = var.image

  # Nothing runs in the machine but what is sent into it. The first process of a machine cannot be killed from inside
  # (pid_namespaces(7)), so a script that kills all it sees leaves the machine there; an init would go with its only
  # child. Where nobody minds SIGCHLD the kernel itself reaps what is left behind (wait(2)); shells do not pass that on,
  # env(1) of coreutils 8.31 does. With an older one zombies stay, and count as processes.
  command = ["/bin/sh", "-c", <<-EOT
    env --ignore-signal=CHLD true 2>/dev/null && exec env --ignore-signal=CHLD sleep infinity
    exec sleep infinity
  EOT
  ]
  must_run = true

  network_mode  = docker_network.instance.name
  security_opts = ["no-new-privileges"]
  # What maintainer scripts may need stays: mknod (Debian Policy 10.6), chroot, setcap, binding a low port.
  capabilities {
    drop = ["CAP_NET_RAW"]
  }

  memory      = var.memory_mb
  memory_swap = var.memory_mb
  cpus        = tostring(var.cpus)
  shm_size    = 64
  # Whoever writes to /proc/1/fd/1 would fill the host's disk with a log that nobody reads.
  log_driver = "none"

  destroy_grace_seconds = 0
  remove_volumes        = true

  dynamic "labels" {
    for_each = var.labels

    content {
      label = labels.key
      value = labels.value
    }
  }
}
