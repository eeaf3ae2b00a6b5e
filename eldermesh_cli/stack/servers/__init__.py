"""What the embedded stack runs: broker, Redis, Ray head, and the services of the mesh."""
