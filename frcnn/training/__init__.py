"""Training of a detector: its loop, optimizer, learning rate schedules and callbacks."""
