"""ContextFace: from a picture, a situation or a quote to a facial expression in one forward pass; needs torch."""
