"""A head simulated by MuJoCo: try a rig without motors."""
