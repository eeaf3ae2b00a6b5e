"""The history machine: an owner folds a partition of facts, advances Redis under guard, and acts on what it folded."""
