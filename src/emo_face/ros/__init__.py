"""What every node needs, written once: lifecycle, parameters, QoS, diagnostics, image conversion."""
