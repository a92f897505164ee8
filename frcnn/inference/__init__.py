"""How a detector is applied to images: molding, compiled graph, streams."""
