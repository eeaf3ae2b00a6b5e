"""The router's decisions: reject, hold or route, on which engine, in chunks of which size."""
