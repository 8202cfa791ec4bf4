"""What each library brings to a problem: one file a library, each with ``ways(problem)``."""
