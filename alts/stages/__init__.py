"""What alts.plan names: one file a stage."""
