"""The package's version, in one place that a build reads without importing the package."""

__version__ = "0.1.0"
