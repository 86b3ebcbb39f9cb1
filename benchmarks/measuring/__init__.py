"""What benchmarks/families.py measures with: the work, the clock, the floor, another revision."""
