"""The loop that moves a face: controller, calibration, real-time scheduling."""
