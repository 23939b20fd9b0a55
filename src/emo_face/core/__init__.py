"""Types, label sets, geometry and clocks. NumPy only; imports nothing above it."""
