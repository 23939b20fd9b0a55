"""What the benchmarks share: probes, peers, a browser, facts of the machine."""
