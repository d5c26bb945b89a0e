"""A program with a registry of COUNT services inside, on the tailnet of TS_SOCKET. registry.py COUNT PORT

Without COUNT: a bare interpreter, to compare its memory with. Both say "ready" and sleep.
"""

import sys
import time

if len(sys.argv) > 1:
    import mddns

    registry = mddns.start_registry(port=int(sys.argv[2]))
    for i in range(int(sys.argv[1])):
        registry.advertise_service(20_000 + i, f"service-{i:03d}", {"env": "prod", "number": str(i)})
print("ready", flush=True)
time.sleep(3600)
