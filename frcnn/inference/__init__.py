"""Detection in images: molding, the compiled graph, streams."""
