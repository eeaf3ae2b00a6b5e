"""What all verbs share: the table of verbs, options, the mesh they speak to, errors and exit codes."""
