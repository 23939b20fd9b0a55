"""The gate before every actuator: limits, interlocks, stops."""
