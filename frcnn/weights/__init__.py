"""Weight files: reading, writing, matching to layers, downloading."""
