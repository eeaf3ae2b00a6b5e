"""The standalone path: prompts from `claude.requests`, facts in `claude.history`, output on `claude.output`."""
