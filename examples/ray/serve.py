"""Serves a model on a cluster of Ray, until Ctrl-C.

    python serve.py mistral.gguf --replicas 4 --num-cpus 8

`serve.yaml` is the same as a configuration for `serve deploy`.
"""

import argparse

from ray import serve

import bise.ray.serve


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """The command line, and what of it is for `bise serve`."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="Further options are those of bise serve, such as --ctx 8192 or --api-key-file keys.",
    )
    add = parser.add_argument
    add("model", nargs="?", help="a path that all nodes have [default: the built-in story teller]")
    add("--replicas", type=int, default=2, help="processes with the model [default: 2]")
    add("--num-cpus", type=int, default=1, help="cores of a replica [default: 1]")
    add("--host", default="127.0.0.1", help="where to listen [default: 127.0.0.1]")
    add("--port", type=int, default=8000, help="port to listen at [default: 8000]")
    return parser.parse_known_args()


def main() -> None:
    given, options = arguments()
    serve.start(http_options={"host": given.host, "port": given.port})
    app = bise.ray.serve.app(
        given.model, replicas=given.replicas, num_cpus=given.num_cpus, options=options
    )
    serve.run(app, blocking=True)


if __name__ == "__main__":
    main()
