"""One file a technique, all with the interface of `technique.Technique`."""
