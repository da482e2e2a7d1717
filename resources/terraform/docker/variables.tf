# Values come from terraform.tfvars.json, as data.

variable "docker_host" {
  description = "The engine, e.g. unix:///var/run/docker.sock"
  type        = string
}

variable "name" {
  description = "Name of the container, with the machine's task and attempt"
  type        = string
}

variable "hostname" {
  description = "Hostname of the machine"
  type        = string
}

variable "image" {
  description = "Id of an image that is on the engine: sha256:..."
  type        = string
}

variable "labels" {
  description = "The machine's worker, task and attempt; leftovers are found by them"
  type        = map(string)
}

variable "memory_mb" {
  description = "Memory limit; there is no swap on top"
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

variable "subnet" {
  description = "Subnet of the machine's own network, e.g. 10.213.7.8/29; empty lets the engine choose"
  type        = string
  default     = ""
}

variable "network_options" {
  description = "Options of the bridge, e.g. its MTU"
  type        = map(string)
  default     = {}
}
