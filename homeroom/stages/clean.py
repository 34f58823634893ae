"""clean: what was collected, repaired, filtered, without duplicates, and split into train, validation and held-out.

The split is made here, before anything is trained. How is the business of `homeroom.data.cleaning`.
"""

from homeroom.data.cleaning import Cleaning, clean
from homeroom.progress import say
from homeroom.stages.lookup import unchanged
from homeroom.workspace import Artifact, Workspace

VERSION = 3


class Config(Cleaning):
    """Which documents are kept, and how they are shared out."""


def run(config: Config, workspace: Workspace) -> Artifact:
    collected = workspace.latest("collect")
    if done := unchanged(workspace, "clean", config, [collected], VERSION):
        return done
    with workspace.publish("clean", config, inputs=[collected], version=VERSION) as out:
        funnel = clean(collected.path / "documents.parquet", out.path, config)
        out.metrics = funnel.metrics()
    dropped = ", ".join(f"{rule} {count:,}" for rule, count in funnel.dropped.most_common())
    kept = funnel.documents - funnel.dropped.total()
    say("clean", f"{kept:,} of {funnel.documents:,} documents (dropped: {dropped or 'none'}) → {out.artifact.id}")
    return out.artifact
