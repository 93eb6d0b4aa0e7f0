"""The project's tests; a package, so that test files can share generated drawings."""
