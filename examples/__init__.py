"""FastStream applications to copy: each file stands alone. docs/how-to/faststream.md shows how to run them."""
