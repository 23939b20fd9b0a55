"""The library without ROS: look at a picture, say a sentence, drive a head. Its names are re-exported by emo_face."""
