"""The verbs, one a file, each with a function `register(app)`.

Their modules are imported for `mesh --help`, so what is slow to import, or missing in a bare install, is imported where
it is used.
"""
