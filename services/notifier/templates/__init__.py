"""Messages from templates: rendered in a sandbox, in a process that can be killed."""
