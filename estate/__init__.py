"""What the flows work on: inventories, assets, dependencies, technical debt. Pure computation over tables."""
