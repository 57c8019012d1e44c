"""The only room that imports ray: workers, learner, controller, studies."""
