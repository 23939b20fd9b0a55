"""The speech student judged on lines it has not seen."""
