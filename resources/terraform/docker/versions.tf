# Which version of the provider: provider_override.tf.json, written next to this file, says it where it matters.
terraform {
  required_version = ">= 1.5"

  required_providers {
    docker = {
      source = "registry.terraform.io/kreuzwerker/docker"
    }
  }
}
