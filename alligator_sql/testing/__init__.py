"""Help for tests: the conformance suite for backends, and moving a store in time."""
