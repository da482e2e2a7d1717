# Values come from terraform.tfvars.json, as data.

variable "docker_host" {
  description = "The engine, such as unix:///var/run/docker.sock"
  type        = string
}

variable "name" {
  description = "Of the container; it says which task and attempt the machine belongs to"
  type        = string
}

variable "hostname" {
  description = "What the machine calls itself"
  type        = string
}

variable "image" {
  description = "Id of an image that is on the engine: sha256:..."
  type        = string
}

variable "labels" {
  description = "Who the machine belongs to; leftovers are found by them"
  type        = map(string)
}

variable "memory_mb" {
  description = "Memory limit; there is no swap on top"
  type        = number
}

variable "cpus" {
  description = "How many CPUs' time the machine may use, such as 1.5"
  type        = number
}

variable "pids" {
  description = "How many processes and threads the machine may have (embedded provider only)"
  type        = number
}

variable "subnet" {
  description = "Of the machine's own network, such as 10.213.7.8/29; empty for one that the engine chooses"
  type        = string
  default     = ""
}

variable "network_options" {
  description = "Of the bridge, such as its MTU"
  type        = map(string)
  default     = {}
}
