"""Makes machines, prepares them for a task and destroys them; one folder for each kind of machine.

Imports alts.images, alts.provisioning, alts.package_managers, alts.host, alts.core and alts.shared.
"""
