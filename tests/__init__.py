"""
Tests: C{trial} runs all but those in L{tests.live}, which C{pytest} does.
"""

from hypothesis import settings

# A deadline is an assertion about time: a busy machine is no fault of the code's.
settings.register_profile("gatewayd", deadline=None)
settings.load_profile("gatewayd")
