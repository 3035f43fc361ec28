"""Runs a command without its output, and prints its time and the most memory that it had resident as JSON (Unix)."""

import json
import os
import subprocess
import sys
import time

start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
errors = child.stderr.read()
_, status, usage = os.wait4(child.pid, 0)
seconds = time.perf_counter() - start
if status:
    sys.exit(f"failed: {sys.argv[1:]}\n{errors}")
# Linux counts in KiB, macOS in bytes.
resident = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(json.dumps({"seconds": seconds, "resident_kib": resident}))
