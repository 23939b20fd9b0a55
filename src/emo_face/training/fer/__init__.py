"""The FER student (a person's facial emotion, from a crop): its one recipe, training, calibration, export."""
