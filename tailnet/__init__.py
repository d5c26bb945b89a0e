"""A real tailnet on one machine: headscale and tailscaled, each node in a network namespace; README.md tells more."""
