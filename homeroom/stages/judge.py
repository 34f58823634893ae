"""judge: a second reward model, which only ever judges.

It learns from other questions with another seed than the one PPO is rewarded by, so a policy that found the reward
model's weak spots does not impress it for that.
"""

from homeroom.stages import reward
from homeroom.workspace import Artifact, Workspace

VERSION = reward.VERSION


class Config(reward.Config):
    """As for the reward model."""


def run(config: Config, workspace: Workspace) -> Artifact:
    """Train and qualify the judge."""
    return reward.fit("judge", config, workspace)
