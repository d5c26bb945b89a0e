"""The test bed: hosts as network namespaces (or loopback), each beside a played tailscaled."""
