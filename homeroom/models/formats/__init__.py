"""Foreign checkpoint layouts, each in a file of its own; `homeroom.models.checkpoint` picks one."""
