"""Questions with reference answers, and how answers are graded: the same for evaluation and reinforcement learning."""
