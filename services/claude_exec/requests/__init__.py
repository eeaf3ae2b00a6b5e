"""The standalone path: prompts from `claude.requests`, facts in `claude.history`, output and ends on `claude.output`."""
