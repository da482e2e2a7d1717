"""Terraform and Ansible, and what they are given: signing keys, repository hosts.

Imports alts.host, alts.core and alts.shared.
"""
