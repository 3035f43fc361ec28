"""A job that is killed: the program that runs it, which tells whose answers each file has.

usage: job.py ADDRESS INPUT OUTPUT MODEL
"""

import json
import sys

import pyarrow.parquet
import ray

import bise.ray.batch
from bise.ray import written

OPTIONS = {"rows_per_file": 16, "num_cpus": 2, "asked": {"temperature": 0.7, "max_tokens": 60}}


def gather(parts, *more, gathered=written.gather):
    for file in parts.iterdir():
        ids = pyarrow.parquet.read_table(file, columns=["id"])["id"].to_pylist()
        print("FILE", json.dumps([file.name, ids]), flush=True)
    gathered(parts, *more)


if __name__ == "__main__":
    address, source, output, model = sys.argv[1:]
    written.gather = gather
    ray.init(address=address, _node_ip_address="127.0.0.1")
    bise.ray.batch.run(source, output, model, ordered=True, **OPTIONS)
