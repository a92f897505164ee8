"""Weight files: reading, writing, matching names, downloading."""
