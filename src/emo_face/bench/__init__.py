"""What `emo-face bench` measures, with the probes it needs."""
