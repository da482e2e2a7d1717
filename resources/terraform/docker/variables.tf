# Values come from terraform.tfvars.json, as data.

variable "docker_host" {
  description = "The engine, e.g. unix:///var/run/docker.sock"
  type        = string
}

variable "machines" {
  description = <<-EOT
    Name of the container and its network => hostname, labels (leftovers are found by them) and the subnet of its
    network, e.g. 10.213.7.8/29; an empty subnet lets the engine choose.
  EOT
  type = map(object({
    hostname = string
    labels   = map(string)
    subnet   = string
  }))
}

variable "image" {
  description = "Id of an image that is on the engine: sha256:..."
  type        = string
}

variable "memory_mb" {
  description = "Memory limit of each machine; there is no swap on top"
  type        = number
}

variable "cpus" {
  description = "CPU limit, e.g. 1.5"
  type        = number
}

variable "pids" {
  description = "Limit on processes and threads (embedded provider only)"
  type        = number
}

variable "network_options" {
  description = "Options of the bridges, e.g. their MTU"
  type        = map(string)
  default     = {}
}
