"""How much a machine answers in a day: rows together, as an actor or a replica answers them.

    python throughput.py mistral.gguf --num-cpus 8 --prompt 128 --answer 64 --rows 64
"""

import argparse
import random
import time

import bise

WORDS = "the of and to in is was he for it with as his on be at by had not are but from".split()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("model", nargs="?", help="a model [default: the built-in story teller]")
    add("--num-cpus", type=int, help="threads [default: as many as there are cores]")
    add("--prompt", type=int, default=128, help="words of a prompt [default: 128]")
    add("--answer", type=int, default=64, help="tokens of an answer [default: 64]")
    add("--rows", type=int, default=64, help="rows [default: 64]")
    add("--sequences", type=int, help="answers at a time [default: 64]")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    model = bise.Model.open(given.model, threads=given.num_cpus, sequences=given.sequences)
    chance = random.Random(1)
    prompts = [" ".join(chance.choices(WORDS, k=given.prompt)) for _ in range(given.rows)]
    began = time.perf_counter()
    read = made = 0
    options = {"max_tokens": given.answer, "temperature": 1.0, "ignore_eos": True}
    for result in model.batch(prompts, ordered=False, **options):
        if result.error is not None:
            raise result.error
        read += result.text.prompt_tokens
        made += len(result.text.tokens)
    took = time.perf_counter() - began
    print(
        f"{given.rows} rows in {took:.2f} s: {read / took:.1f} tokens a second of prompts and "
        f"{made / took:.1f} of answers; in a day {given.rows / took * 86400:,.0f} rows, "
        f"{made / took * 86400 / 1e6:.2f} million tokens of answers"
    )


if __name__ == "__main__":
    main()
