"""The outbox: `notifications` folded, and what it holds sent under a claim."""
