"""`emo-face VERB`: one module per verb, found by name."""

from emo_face.core.interrupts import quiet_as_program

quiet_as_program("emo-face")  # their imports take seconds
