"""From emotions to action units, ARKit values and basis coefficients."""
