"""The process that calls a user's function, item by item, so that it can be killed and cannot block a heartbeat.

It runs as a bare script (`python -P …/item_host/__main__.py`) and imports nothing of the project but this folder, which
imports itself by relative names: so it starts in a few hundredths of a second, and packages of the user may have any
name. What user code prints goes to standard error.

User code may change anything: standard streams, descriptors, timers, signal handlers, modules. So the host takes what
it needs before user code runs, and sets aside what could disturb its own work (`border`). A function that has returned
has succeeded, and is not called again.
"""
