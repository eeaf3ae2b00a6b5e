"""What is printed: data on standard output, progress and tables for people, nothing that controls a terminal."""
