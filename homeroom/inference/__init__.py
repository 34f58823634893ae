"""Generation over a live module: the model that trains is the model that serves."""
