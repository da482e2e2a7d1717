"""What apt and dnf are asked, and how their answers are read: argv out, text in, nothing is run here.

Imports alts.core and alts.shared.
"""
