"""The consumer for inboxes and subscribers: at least once, with concurrency, whatever foreign clients publish."""
