#!/bin/sh
# Prints the page of each instance of a service, whatever its port: sh srv.sh web.minidisc
dig +short SRV "$1" | sort -n | while read -r _priority _weight port target; do
  curl -sS --max-time 3 "http://${target%.}:$port/"
done
