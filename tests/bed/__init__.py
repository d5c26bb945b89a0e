"""The test bed: hosts as network namespaces (or loopback addresses), each with a simulated tailscaled."""
