"""From segments to a better phi: losses, learner, curriculum, imitation, the round loop."""
