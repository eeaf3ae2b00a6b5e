"""Run and check a mesh: `mesh doctor`, `config`, `topics`, `notify`, and the verbs of `operate.mesh`."""
