"""The Claude CLI as a child process: command line, environment, directory, transport, end."""
