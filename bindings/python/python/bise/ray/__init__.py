"""bise on a cluster of Ray: `bise.ray.batch` answers many rows, `bise.ray.serve` many clients.

Needs the extra: ``pip install './bindings/python[ray]'``. docs/CLUSTER.md shows both.
"""

try:
    import ray  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "ray":
        raise
    raise ModuleNotFoundError(
        "bise.ray needs Ray, which is not installed: pip install './bindings/python[ray]'", name="ray"
    ) from missing
