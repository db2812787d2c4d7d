"""One hypothesis profile for all tests: few examples, so that runs are fast, and the same ones in every run."""

from hypothesis import settings

settings.register_profile("book", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("book")
