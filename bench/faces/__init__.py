"""Face datasets on disk, in every layout of the field: opened, written and converted."""
