#!/usr/bin/env bash
# ray 2.60.0: `read_parquet(num_cpus=0)` reads with no core, but first lists its files in a task that takes one, whatever is asked for.
# Where actors have all cores, the job waits for ever, without a word; the reader before this one (`use_datasource_v2 = False`) does not.
# PYTHON names an interpreter that has the packages already.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$work/env"
    PYTHON=$work/env/bin/python
    "$PYTHON" -m pip install --quiet 'ray[data]==2.60.0'
fi
cat >"$work/job.py" <<'PYTHON'
import sys
import ray

class Doubled:
    def __call__(self, batch):
        return {"id": batch["id"] * 2}

ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1")
ray.data.DataContext.get_current().use_datasource_v2 = sys.argv[2] == "new"
rows = ray.data.read_parquet(sys.argv[1], num_cpus=0)
pool = ray.data.ActorPoolStrategy(size=1)
rows = rows.map_batches(Doubled, num_cpus=1, compute=pool)
print("SUM", sum(row["id"] for row in rows.take_all()))
PYTHON
"$PYTHON" - "$work" <<'PYTHON'
import os, signal, subprocess, sys
import pyarrow, pyarrow.parquet

work = sys.argv[1]
pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3]}), f"{work}/rows.parquet")
environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}

def ends(reader, seconds):
    command = [sys.executable, f"{work}/job.py", f"{work}/rows.parquet", reader]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    job = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    try:
        return "SUM 12" in job.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGINT)
        job.communicate()
        return False

before, now = ends("before", 120), ends("new", 60)
print(f"with all cores taken by an actor, the reader before ends: {before}; the one of now within a minute: {now}")
assert before and not now
PYTHON
