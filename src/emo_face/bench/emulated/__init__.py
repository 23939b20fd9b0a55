"""Hardware that is not here: servos, their buses, and a camera whose cable can be pulled."""
