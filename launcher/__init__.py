"""The local coordinator of protein-sky: it owns a sweep's state, starts trials and pays for them."""

__version__ = "0.1.0"
