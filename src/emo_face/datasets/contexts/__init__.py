"""Records, tasks and targets of ContextFace."""
