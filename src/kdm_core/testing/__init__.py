"""The contract every ``DeploymentRepository`` must keep, as a test suite to subclass. Needs pytest and hypothesis."""
