"""ElderMesh: an event-driven mesh that runs jobs and can say what became of each of them."""
