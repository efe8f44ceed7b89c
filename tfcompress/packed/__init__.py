"""The packed format: files whose clustered weights stay indices at run time."""
