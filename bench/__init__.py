"""Side-by-side benchmarks against public peers. Each prints one JSON object last."""
