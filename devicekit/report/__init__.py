"""Reports: one module per format, each with `render(results, …) -> str`."""
