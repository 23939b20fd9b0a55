"""The FER student (facial emotion recognition) judged on people it has not seen."""
