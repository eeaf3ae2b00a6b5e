"""All settings: one typed class, each subject in a file of its own."""

from shared.settings.settings import UNSECURED, Settings

__all__ = ["UNSECURED", "Settings"]
