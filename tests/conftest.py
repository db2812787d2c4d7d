"""One hypothesis profile for all tests: enough examples to find defects, few enough for a fast run."""

from hypothesis import settings

settings.register_profile("book", max_examples=40, deadline=None)
settings.load_profile("book")
