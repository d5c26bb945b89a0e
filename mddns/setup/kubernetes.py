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
            f"{to.address} stands for a node of the network that the pods reach; 127.0.0.1 would be the pod itself.",
            "k3s and AKS read the ConfigMap coredns-custom. Where it is there already, add the key mddns.server to it: "
            "'kubectl apply' replaces what it holds under the same keys.",
            "With kubeadm, put the block below mddns.server into the Corefile itself: kubectl -n kube-system edit "
            "configmap coredns.",
            f'With kube-dns (GKE), the ConfigMap kube-dns takes it as stubDomains: {{"{to.apex}": ["{to.listen}"]}}.',
            "md forward answers the nodes of its network and its own machine. Pods are behind their node's address "
            "where the cluster masquerades, as most do; from another address they are refused.",
        ),
    )
