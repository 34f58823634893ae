"""Pictures as SVG, for the report and for the pages: they take values and load nothing."""

from pathlib import Path

PARTS = Path(__file__).parent  # holds charts.css and charts.js, which every page with a picture needs
