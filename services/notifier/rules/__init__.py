"""The rules file: channels, and which events are sent to which of them."""
