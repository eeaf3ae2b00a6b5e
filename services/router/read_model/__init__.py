"""The read model of jobs: answers to what people ask about them. Whoever asks needs nothing of the fold."""
