//! Every option that names a file or a folder, and what the command does with it. The program's own
//! test walks its commands and misses what is not here, so that a new output cannot escape the
//! tests that try to lose an input.

/// What a command does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads the file, which is like this fixture.
    Reads(&'static str),
    /// It writes the file.
    Writes,
    /// It writes files in the folder.
    WritesIn,
}

/// An option of a command.
#[derive(Clone, Copy, Debug)]
pub struct PathOption {
    pub command: &'static str,
    /// The name that the program has for it.
    pub id: &'static str,
    /// How it is written on the command line; empty where only the place tells.
    pub flag: &'static str,
    pub role: Role,
}

const fn path(
    command: &'static str,
    id: &'static str,
    flag: &'static str,
    role: Role,
) -> PathOption {
    PathOption {
        command,
        id,
        flag,
        role,
    }
}

use Role::{Reads, Writes, WritesIn};

pub const MODEL: Role = Reads("model");
pub const ADAPTER: Role = Reads("adapter.gguf");

pub const PATHS: &[PathOption] = &[
    path("run", "model", "", MODEL),
    path("run", "named", "-m", MODEL),
    path("run", "input_jsonl", "--input-jsonl", Reads("rows.jsonl")),
    path("run", "output_jsonl", "--output-jsonl", Writes),
    path("run", "file", "-f", Reads("text")),
    path("run", "json_schema", "--json-schema", Reads("schema.json")),
    path("run", "grammar", "--grammar", Reads("grammar.lark")),
    path("run", "template", "--template", Reads("template.jinja")),
    path("run", "draft", "--draft", MODEL),
    path("run", "session", "--session", Writes),
    path("run", "prompt_cache", "--prompt-cache", WritesIn),
    path("run", "lora", "--lora", ADAPTER),
    path("chat", "model", "", MODEL),
    path("chat", "named", "-m", MODEL),
    path("chat", "load", "--load", Reads("talk.json")),
    path("chat", "json_schema", "--json-schema", Reads("schema.json")),
    path("chat", "grammar", "--grammar", Reads("grammar.lark")),
    path("chat", "template", "--template", Reads("template.jinja")),
    path("chat", "draft", "--draft", MODEL),
    path("chat", "session", "--session", Writes),
    path("chat", "prompt_cache", "--prompt-cache", WritesIn),
    path("chat", "lora", "--lora", ADAPTER),
    path("serve", "model", "", MODEL),
    path("serve", "named", "-m", MODEL),
    path("serve", "api_key_file", "--api-key-file", Reads("text")),
    path("serve", "template", "--template", Reads("template.jinja")),
    path("serve", "lora", "--lora", ADAPTER),
    path("quantize", "src", "", MODEL),
    path("quantize", "imatrix", "--imatrix", Reads("sums.imatrix")),
    path("quantize", "calibrate", "--calibrate", Reads("text")),
    path("quantize", "dst", "", Writes),
    path("quantize", "lora", "--lora", ADAPTER),
    path("imatrix", "model", "", MODEL),
    path("imatrix", "named", "-m", MODEL),
    path("imatrix", "file", "-f", Reads("text")),
    path("imatrix", "output", "-o", Writes),
    path("imatrix", "lora", "--lora", ADAPTER),
    path("repack", "old", "", MODEL),
    path("repack", "new", "", Writes),
    path("logits", "model", "", MODEL),
    path("logits", "named", "-m", MODEL),
    path("logits", "tokens_file", "--tokens-file", Reads("tokens")),
    path("logits", "output", "-o", Writes),
    path("logits", "lora", "--lora", ADAPTER),
    path("bench", "model", "", MODEL),
    path("bench", "named", "-m", MODEL),
    path("bench", "replay", "--replay", Reads("replay.json")),
    path("bench", "write", "--write", Writes),
    path("bench", "lora", "--lora", ADAPTER),
    path("verify", "file", "", MODEL),
    path("inspect", "model", "", MODEL),
    path("inspect", "named", "-m", MODEL),
    path("tokenize", "model", "-m", MODEL),
    path("tokenize", "file", "-f", Reads("text")),
    path("tokenize", "chat", "--chat", Reads("talk.json")),
    path("tokenize", "template", "--template", Reads("template.jinja")),
    path("embed", "model", "", MODEL),
    path("embed", "named", "-m", MODEL),
    path("embed", "file", "-f", Reads("rows.jsonl")),
    path("embed", "lora", "--lora", ADAPTER),
    path("perplexity", "model", "", MODEL),
    path("perplexity", "named", "-m", MODEL),
    path("perplexity", "file", "-f", Reads("text")),
    path("perplexity", "lora", "--lora", ADAPTER),
    path("man", "directory", "", WritesIn),
];
