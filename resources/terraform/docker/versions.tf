# runner_override.tf.json, written next to this file, sets the provider's version if it matters.
terraform {
  required_version = ">= 1.5"

  required_providers {
    docker = {
      source = "registry.terraform.io/kreuzwerker/docker"
    }
  }
}
