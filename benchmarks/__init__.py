"""
What the gateway costs, measured beside its peers: C{python -m benchmarks}.
"""
