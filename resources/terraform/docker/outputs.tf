output "machines" {
  description = "Name => id, name and address"
  value = {
    for name, instance in docker_container.instance : name => {
      id   = instance.id
      name = instance.name
      ip   = instance.network_data[0].ip_address
    }
  }
}
