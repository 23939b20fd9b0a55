"""Where people are: poses of faces before a camera, people of several cameras."""
