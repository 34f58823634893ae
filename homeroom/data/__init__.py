"""Raw text to token shards: sources, the starter data, cleaning, duplicates, shards.

Importing this room switches off the telemetry and the progress bars of Daft before anything can import Daft.
"""

import os

# Daft reports its import and its runner to two services unless told not to, and it reads this when it is imported.
os.environ["DAFT_ANALYTICS_ENABLED"] = "0"
os.environ["DO_NOT_TRACK"] = "1"
# `DAFT_RUNNER=ray` in somebody's shell is left alone: that is how more than one machine is asked for.
os.environ.setdefault("DAFT_RUNNER", "native")
os.environ["DAFT_PROGRESS_BAR"] = os.environ["DAFT_SHOW_QUERY_ID"] = "0"
