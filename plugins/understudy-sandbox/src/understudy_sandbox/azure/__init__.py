"""The sandbox's Azure face: classic and v1 data plane, ARM, Entra. The provider is the same."""
