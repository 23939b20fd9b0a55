"""Names of ``hri_msgs/Expression`` for our labels."""

# hri_msgs/Expression has no constant for contempt or a listener's answers: left empty, valence and arousal speak
EXPRESSIONS = {
    "Anger": "angry",
    "Disgust": "disgusted",
    "Fear": "scared",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprised",
    "Neutral": "neutral",
    "Happiness": "happy",
    "Sadness": "sad",
    "Excitement": "excited",
    "Annoyance": "annoyed",
    "Fatigue": "tired",
    "Embarrassment": "embarrassed",
    "Doubt/Confusion": "confused",
    "Doubt": "skeptical",
}
