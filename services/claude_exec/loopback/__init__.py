"""A deterministic endpoint with the interface of the Anthropic Messages API, on the loopback interface only."""
