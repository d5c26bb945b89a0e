"""A real tailnet on one machine: headscale and tailscaled, each node in a network namespace. See README.md."""
