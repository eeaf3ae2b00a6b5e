"""What is known of past jobs: how they ended, how long they took, which are similar."""
