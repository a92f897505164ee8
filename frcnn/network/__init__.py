"""The detector as Keras layers and graphs; `graph.py` puts the parts together."""
