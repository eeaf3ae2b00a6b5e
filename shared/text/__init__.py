"""Text from outside: invisible characters, half characters, secrets, files of any kind."""
