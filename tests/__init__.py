"""
Tests: C{trial} runs all but those in L{tests.live}, which C{pytest} does.
"""
