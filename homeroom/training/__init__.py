"""Training: one loop; objectives and Sources say what is learned and from what. Never imports evaluation."""
