"""The detector as one graph for other runtimes."""
