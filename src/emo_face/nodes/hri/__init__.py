"""ROS4HRI (REP-155): people for others, others' faces for us, and the robot's face, if hri_msgs is installed."""
