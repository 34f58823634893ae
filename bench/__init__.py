"""Side-by-side benchmarks against public peers. Each prints one JSON object last.

Both sides run in a process that treats memory as Homeroom's does, and so get the same from it.
"""

from homeroom.memory import keep_freed_memory

keep_freed_memory()
