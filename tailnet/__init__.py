"""A real tailnet on one machine: headscale and tailscaled, each node in a network namespace; see README.md."""
