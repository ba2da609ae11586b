"""What holds for all tests."""

from hypothesis import settings

# A busy machine is no fault of the code; what takes too long is ended by pytest-timeout.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
