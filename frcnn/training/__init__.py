"""How a detector is trained: loop, optimizer, schedules, callbacks."""
