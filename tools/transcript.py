#!/usr/bin/env python3
"""Records the first five minutes of a new user: runs the real program in a terminal, types what a person would type, and
writes what the terminal shows.

    cargo build --release
    python3 tools/transcript.py target/release/bise docs/FIRST_FIVE_MINUTES.md

Needs a Unix and nothing but Python.
"""
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS = 100
PATIENCE = 120
INTERRUPT = "\x03"

SCHEMA = """{
  "type": "object",
  "properties": {
    "name": {"enum": ["Ivy", "Max", "Leo"]},
    "animal": {"enum": ["dog", "fox", "hen"]},
    "age": {"type": "integer", "minimum": 1, "maximum": 12}
  },
  "required": ["name", "animal", "age"],
  "additionalProperties": false,
  "x-guidance": {"whitespace_flexible": false}
}
"""

# A heading, a sentence, and command lines, each with what is typed into it.
STEPS = [
    ("A story", "No model is needed to begin: a tiny story teller is part of the program.",
     [("bise run -p 'Once upon a time' --seed 2 -n 90", [])]),
    ("A chat", "It is made for stories and not for chats, but shows how one goes. The third message is interrupted with "
     "Ctrl-C.",
     [("bise chat --seed 7 -n 70 --session talk.session",
       ["/help", "/system Tell of a dog.", "Who lives by the river?", "/undo", "Who lives in the mill?",
        "/set temp 0.5", ("Tell me more", 60), "/stats", "/save talk.json", "/exit"]),
      ("bise chat --session talk.session", ["/retry", "/exit"])]),
    ("A model of one's own", "`tiny-mistral` is a directory as Hugging Face has them, with `model.safetensors`, `config.json` "
     "and `tokenizer.model`.",
     [("bise quantize tiny-mistral story.gguf --type Q4_K_M", []),
      ("bise inspect story.gguf | head -24", []),
      ("bise verify story.gguf", [])]),
    ("Text in a form", "Whatever the model, what comes is what the schema describes.",
     [("cat pet.json", []),
      ("bise run story.gguf -p 'One day, a pet came: ' --seed 3 --json-schema pet.json -n 60 --no-echo", []),
      ("bise run story.gguf -p 'Is it good? ' --regex '(yes|no), (sir|madam)[.!]' --seed 1 -n 30 --no-echo", [])]),
    ("Numbers for programs", "`--json` tells all about a text, `--stats` only how fast it was.",
     [("bise run story.gguf -p 'The dog' -n 12 --seed 1 --json", []),
      ("bise run story.gguf -p 'The dog' -n 100 --seed 1 --stats | tail -n 1", [])]),
]


class Terminal:
    """A shell command in a terminal of its own."""

    def __init__(self, command, folder, program):
        self.shown = bytearray()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            # A dumb terminal: no line is drawn twice, so that what it shows can be read.
            os.environ.update(TERM="dumb", NO_COLOR="1", BISE_HISTORY="", PATH=program + os.pathsep + os.environ["PATH"])
            time.sleep(0.2)
            # Ctrl-C is for the program, not for a shell around it.
            os.execvp("sh", ["sh", "-c", command if "|" in command else f"exec {command}"])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))

    def read(self, done):
        """Reads until `done` or the end; whether it ended."""
        start = time.monotonic()
        while not done():
            if time.monotonic() - start > PATIENCE:
                os.kill(self.pid, signal.SIGKILL)
                sys.exit(f"nothing for {PATIENCE} s after:\n{self.text()}")
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    piece = os.read(self.fd, 4096)
                except OSError:
                    piece = b""
                if not piece:
                    return True
                self.shown += piece
        return False

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def say(self, line):
        """Types a line, or a line and Ctrl-C after so many characters of the answer; waits for the prompt."""
        line, after = line if isinstance(line, tuple) else (line, None)
        self.read(lambda: self.shown.endswith(b"\n> ") or bytes(self.shown) == b"> ")
        before = len(self.shown)
        self.type(line + "\n")
        self.read(lambda: len(self.shown) > before + len(line) + 1)
        if after is not None:
            self.read(lambda: len(self.shown) > before + len(line) + after)
            self.type(INTERRUPT)

    def finish(self):
        self.read(lambda: False)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status != 0:
            sys.exit(f"status {status} of:\n{self.text()}")
        return self.text()

    def text(self):
        lines = self.shown.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
        return "\n".join(line.rstrip() for line in lines)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, target = map(os.path.abspath, sys.argv[1:])
    if os.path.basename(program) != "bise" or not os.access(program, os.X_OK):
        sys.exit(f"{program} is no program bise: cargo build --release makes it")
    out = ["# The first five minutes", "",
           "What a terminal shows when a new user tries `bise`: recorded by `tools/transcript.py`, which types the lines after "
           "`$` and `>`. Nothing here is edited.", ""]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(ROOT, "fixtures/tiny-mistral"), os.path.join(folder, "tiny-mistral"))
        with open(os.path.join(folder, "pet.json"), "w", encoding="utf-8") as file:
            file.write(SCHEMA)
        for heading, sentence, commands in STEPS:
            out += [f"## {heading}", "", sentence, "", "```text"]
            for command, lines in commands:
                print(f"$ {command}", file=sys.stderr)
                terminal = Terminal(command, folder, os.path.dirname(program))
                for line in lines:
                    terminal.say(line)
                out += [f"$ {command}", terminal.finish(), ""]
            out[-1] = "```"
            out.append("")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
