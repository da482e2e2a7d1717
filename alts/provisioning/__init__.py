"""Terraform, Ansible, signing keys and repository hosts.

Imports alts.host, alts.core and alts.shared.
"""
