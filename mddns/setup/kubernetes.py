"""Kubernetes: a stub domain in its CoreDNS."""

from __future__ import annotations

import textwrap

from .coredns import block
from .recipe import File, Recipe, Target, forwarder


def recipe(to: Target) -> Recipe:
    """The recipe that makes a cluster's DNS send names under the apex to a forwarder on one of its nodes."""
    body = f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: coredns-custom
  namespace: kube-system
data:
  mddns.server: |
{textwrap.indent(block(to), "    ")}
"""
    return Recipe(
        "kubernetes",
        (File("mddns.yaml", body),),
        forwarder(to),
        ("kubectl apply -f mddns.yaml", "kubectl -n kube-system rollout restart deployment coredns"),
        (
            f"{to.address} must be a node of the network that the pods can reach; 127.0.0.1 would be the pod itself.",
            "k3s and AKS read the ConfigMap coredns-custom. If it exists already, add the key mddns.server to it: "
            "'kubectl apply' replaces the values of the same keys.",
            "With kubeadm, put the block below mddns.server into the Corefile itself: kubectl -n kube-system edit "
            "configmap coredns.",
            f'With kube-dns (GKE), write this into its ConfigMap as stubDomains: {{"{to.apex}": ["{to.listen}"]}}.',
            "md forward answers the nodes of its network and its own machine, and refuses others. Most clusters "
            "masquerade: their pods send from their node's address.",
        ),
    )
