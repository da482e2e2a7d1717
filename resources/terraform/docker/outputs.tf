output "id" {
  value = docker_container.instance.id
}

output "name" {
  value = docker_container.instance.name
}

output "ip" {
  value = docker_container.instance.network_data[0].ip_address
}
