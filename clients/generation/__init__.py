"""
From the contract, docs/asyncapi.yaml, to the types of each SDK and a page to read.
"""
