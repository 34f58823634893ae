"""What a workspace shows for itself: the figures, and `report.html`. Reads the workspace only, and loads no torch."""
