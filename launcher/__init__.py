"""The local coordinator of protein-sky: it owns a sweep's state and starts its trials."""

__version__ = "0.1.0"
