"""
The application's part, for the Python SDKs. (The TypeScript SDK's is in clients/js/conformance.)
"""
