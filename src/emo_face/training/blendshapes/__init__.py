"""The log-linear second opinion on MediaPipe's blendshapes, fitted on renders of FACS prototypes."""
