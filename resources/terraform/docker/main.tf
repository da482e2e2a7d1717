# One machine under test. Only attributes that the registry's kreuzwerker/docker 3.6 and the embedded provider both have.

provider "docker" {
  host = var.docker_host
}

resource "docker_container" "instance" {
  name     = var.name
  hostname = var.hostname
  image    = var.image

  # Nothing runs in the machine but what is sent into it; init reaps what that leaves behind.
  command  = ["sleep", "infinity"]
  init     = true
  must_run = true

  network_mode  = "bridge"
  security_opts = ["no-new-privileges"]

  memory      = var.memory_mb
  memory_swap = var.memory_mb
  cpus        = tostring(var.cpus)

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
