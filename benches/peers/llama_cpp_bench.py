"""Measures llama.cpp as llama-bench does, and prints JSON. compare.py calls it; the arguments are those of `bise bench`.

    python benches/peers/llama_cpp_bench.py FILE -p 512 -n 32 -d 0 -r 2 -t 2
    python benches/peers/llama_cpp_bench.py FILE --first-token -t 2

The library is llama-cpp-python's, called without its Python classes. Files are mapped, weights are repacked where llama.cpp
does so by default, flash attention is on, keys and values are F16, and prompts pass in batches of 512.
"""

import argparse
import ctypes
import json
import resource
import sys
import time

import llama_cpp

BATCH = 512
# A callback that must outlive the library's use of it.
QUIET = llama_cpp.llama_log_callback(lambda *_: None)


def token(i: int, vocabulary: int) -> int:
    """The tokens of `bise bench`, so that experts get the same ones."""
    return i * 7919 % vocabulary


def load(path: str):
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    assert model, f"llama.cpp cannot load {path}"
    return model


def new_context(model, tokens: int, threads: int):
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = tokens
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    context = llama_cpp.llama_init_from_model(model, parameters)
    assert context, "llama.cpp cannot make a context"
    return context


def decode(context, tokens: list[int], step: int) -> None:
    """Processes tokens, `step` at a time, and waits until that is done."""
    for start in range(0, len(tokens), step):
        part = tokens[start : start + step]
        array = (llama_cpp.llama_token * len(part))(*part)
        failed = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(part)))
        assert not failed, f"llama_decode returned {failed}"
    llama_cpp.llama_synchronize(context)


def measure(model, kind: str, count: int, depth: int, arguments: argparse.Namespace) -> dict:
    """One test: a warm-up, then `count` tokens after `depth` others, as often as asked."""
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    tokens = [token(i, vocabulary) for i in range(depth + count)]
    before, tested = tokens[:depth], tokens[depth:]
    step = BATCH if kind == "pp" else 1
    context = new_context(model, len(tokens), arguments.threads)
    memory = llama_cpp.llama_get_memory(context)
    decode(context, before, BATCH)
    decode(context, tested[:step], step)
    samples = []
    for _ in range(arguments.repetitions):
        llama_cpp.llama_memory_seq_rm(memory, 0, depth, -1)
        start = time.perf_counter()
        decode(context, tested, step)
        samples.append(count / (time.perf_counter() - start))
    llama_cpp.llama_free(context)
    return {"test": f"{kind}{count}" + (f"@d{depth}" if depth else ""), "samples": samples}


def first_token(arguments: argparse.Namespace) -> dict:
    """Time and resident memory that loading the file and processing one token take, the interpreter's own left out."""
    before = resident_kib()
    start = time.perf_counter()
    model = load(arguments.model)
    decode(new_context(model, BATCH, arguments.threads), [1], 1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "resident_kib": resident_kib() - before}


def resident_kib() -> int:
    """The most memory that this process had resident. Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=128)
    parser.add_argument("-d", "--depth", type=int, default=0)
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, required=True)
    parser.add_argument("--first-token", action="store_true")
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(QUIET, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    if arguments.first_token:
        results = first_token(arguments)
    else:
        model = load(arguments.model)
        tests = [("pp", arguments.prompt), ("tg", arguments.generate)]
        results = [measure(model, kind, count, arguments.depth, arguments) for kind, count in tests if count]
    features = llama_cpp.llama_print_system_info().decode().strip(" |")
    print(json.dumps({"version": llama_cpp.__version__, "features": features, "results": results}))


if __name__ == "__main__":
    main()
