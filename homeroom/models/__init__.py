"""Models: families built of one Transformer trunk, their heads, and the checkpoint folder that they live in.

Leaves training to `homeroom.training` and generation to `homeroom.inference`.
"""
