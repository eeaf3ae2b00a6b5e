"""What the verbs answer with `--json`, as models and as JSON Schemas."""
