"""The adaptive policy: learns what items cost on each engine, and chooses engine and chunks by the time predicted."""
