//! The options of `bise serve`.

use super::log::Format;
use crate::loading::Which;
use crate::numbers;
use crate::pooling::{How, pooling};
use crate::runtime::Runtime;
use crate::sampling::{self, Sampling};
use crate::together::Together;
use crate::usage::Misuse;
use anyhow::{Context as _, Result, bail, ensure};
use bise_format::gguf::Metadata;
use bise_model::sampler::SamplerOptions;
use bise_model::tokenizer::Tokenizer;
use bise_serve::ServerOptions;
use bise_serve::request::Pooling;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Serve a model to clients of OpenAI, Ollama, Anthropic and Mistral
///
/// Prints where it listens, and then "ready" when the model is loaded. Other machines reach it when
/// --host says so, and then it asks for a key. Ctrl-C and SIGTERM let answers end first; a second
/// one does not. Sampling options are for requests that do not say theirs.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten, next_help_heading = "Server")]
    pub together: Together,
    /// Format of conversations: v1, v2, v3, v7, v11, v13 or v15 of Mistral's, gguf for the file's
    /// Jinja templates, the name of one of them, or a Jinja file [default: what the model's file
    /// asks for]
    #[arg(long, visible_alias = "chat-template", value_name = "NAME|FILE")]
    pub template: Option<String>,
    /// How embeddings are made of the states of all tokens [default: as the file says, or last]
    #[arg(long, value_name = "HOW")]
    pooling: Option<How>,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    pub runtime: Runtime,
}

/// Who is answered, and how.
#[derive(clap::Args)]
#[command(next_help_heading = "Server")]
struct ServerArgs {
    /// Name or address to listen at; 0.0.0.0 for all that this machine has
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16))]
    port: u16,
    /// Keys of which requests must show one, each in a line [default: what BISE_API_KEY says]
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Ask for no key, even where other machines reach the server
    #[arg(long, conflicts_with = "api_key_file")]
    no_key: bool,
    /// A name of the model for clients; can be repeated [default: the name of the file, and the one
    /// in it]
    #[arg(long, value_name = "NAME", value_parser = alias)]
    alias: Vec<String>,
    /// Whose web pages may use the server: scheme and name, with a port if there is one, or * for
    /// all; can be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    /// A name by which clients reach the server, besides its address and localhost; can be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allow_host: Vec<String>,
    /// How long answers may go on when the server is asked to end
    #[arg(long, value_name = "SECONDS", default_value_t = 30, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32))]
    grace: u32,
    /// The largest request that is taken, such as 8M (10^6 bytes) or 8MiB
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = numbers::size)]
    max_body: u64,
    /// Requests that may wait; others are refused
    #[arg(long, value_name = "N", default_value_t = 256, allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..))]
    queue: u32,
    /// Lines about requests on standard error; texts are not in them
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: Format,
    /// Log requests and answers with their texts
    #[arg(long)]
    log_text: bool,
    /// End when standard input is closed, as it is when the program that started this one ends
    #[arg(long)]
    exit_with_parent: bool,
}

impl Args {
    /// How the server is run.
    pub fn server(&self) -> Result<ServerOptions> {
        let server = &self.server;
        ensure!(
            !(server.log_text && server.log == Format::Off),
            Misuse("--log-text writes to the log, which --log off leaves out".to_owned())
        );
        // What is wrong with it is said before the model is loaded.
        self.sampling.given()?;
        Ok(ServerOptions {
            host: server.host.clone(),
            port: server.port,
            keys: server.keys()?,
            no_key: server.no_key,
            allow_origins: server.allow_origin.clone(),
            allow_hosts: server.allow_host.clone(),
            body: usize::try_from(server.max_body).unwrap_or(usize::MAX),
            grace: Duration::from_secs(server.grace.into()),
            log_text: server.log_text,
            ..ServerOptions::default()
        })
    }

    /// Where the model is; `None` for the one that is part of the program.
    pub fn path(&self) -> Option<&Path> {
        self.which.path()
    }

    /// What the model is called, and other names for it: those that were given, or those of its
    /// file.
    pub fn names(&self, metadata: &Metadata) -> Result<Vec<String>> {
        if !self.server.alias.is_empty() {
            return Ok(self.server.alias.clone());
        }
        let of_file = self.path().and_then(file_name);
        let inside = metadata.str("general.name")?.map(str::trim);
        let inside = inside.filter(|name| !name.is_empty()).map(str::to_owned);
        let mut names: Vec<String> = of_file.into_iter().chain(inside).collect();
        names.dedup();
        if names.is_empty() {
            names.push("bise".to_owned());
        }
        Ok(names)
    }

    /// How embeddings of a model with these metadata are pooled.
    pub fn pooling(&self, metadata: &Metadata) -> Result<Pooling> {
        pooling(self.pooling, metadata)
    }

    /// What is taken where a request says nothing.
    pub fn sampling(&self, tokenizer: &Tokenizer) -> Result<SamplerOptions> {
        sampling::options(&self.sampling.given()?, tokenizer)
    }

    /// Requests that may wait.
    pub fn queue(&self) -> usize {
        self.server.queue as usize
    }

    /// How the log is written.
    pub fn log_format(&self) -> Format {
        self.server.log
    }

    /// Whether the program ends when standard input is closed.
    pub fn exits_with_parent(&self) -> bool {
        self.server.exit_with_parent
    }
}

impl ServerArgs {
    /// What requests may show as their key: what the file says, or else the environment.
    fn keys(&self) -> Result<Vec<String>> {
        if self.no_key {
            return Ok(Vec::new());
        }
        if let Some(file) = &self.api_key_file {
            let name = || file.display().to_string();
            let text = std::fs::read_to_string(file).with_context(name)?;
            return keys(&text).with_context(name);
        }
        match std::env::var("BISE_API_KEY") {
            Ok(key) if !key.is_empty() => keys(&key).context("BISE_API_KEY"),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
            Err(problem) => Err(problem).context("BISE_API_KEY"),
        }
    }
}

/// The keys in `text`, one in a line.
fn keys(text: &str) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let key = line.trim();
        ensure!(
            key.bytes().all(|byte| byte.is_ascii_graphic()),
            "line {}: no key has a space in it, or a letter that is not ASCII",
            i + 1
        );
        if !key.is_empty() {
            keys.push(key.to_owned());
        }
    }
    if keys.is_empty() {
        bail!("there is no key; expected one in each line");
    }
    Ok(keys)
}

/// The name of a model's file or folder, without what all such files end with.
fn file_name(path: &Path) -> Option<String> {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name()?.to_string_lossy().into_owned();
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    // Parts of a split file have numbers.
    let part = name
        .rsplit_once("-of-")
        .and_then(|(name, _)| name.rsplit_once('-'));
    Some(part.map_or(name, |(name, _)| name).to_owned())
}

/// What should have stood on the command line.
type Parsed = Result<String, numbers::Expected>;

/// A model's name.
fn alias(text: &str) -> Parsed {
    match text.trim() {
        "" => Err(numbers::Expected("a name")),
        name => Ok(name.to_owned()),
    }
}

/// Where pages are from, as browsers say it.
fn origin(text: &str) -> Parsed {
    let origin = text.trim_end_matches('/');
    let is_place = |(scheme, place): (&str, &str)| {
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        scheme_ok && !place.is_empty() && !place.contains(['/', '?', '#', '@', ' '])
    };
    match origin {
        "*" | "null" => Ok(origin.to_owned()),
        _ if origin.split_once("://").is_some_and(is_place) => Ok(origin.to_owned()),
        _ => Err(numbers::Expected("a place such as https://example.com, or *")),
    }
}

/// A name as it stands in `Host`, with a port or without.
fn host_name(text: &str) -> Parsed {
    match text.is_empty() || text.contains(['/', '@', ' ', '*']) {
        true => Err(numbers::Expected("a name such as chat.example.com")),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_lines() {
        assert_eq!(keys("a\r\n\n  b \n").unwrap(), ["a", "b"]);
        assert!(keys("\n").unwrap_err().to_string().contains("no key"));
        let problem = keys("a\nb c\n").unwrap_err().to_string();
        assert!(
            problem.starts_with("line 2") && !problem.contains("b c"),
            "{problem}"
        );
    }

    #[test]
    fn models_are_called_as_their_files() {
        for (path, expected) in [
            ("a/mistral.Q4_K_M.gguf", "mistral.Q4_K_M"),
            ("a/mixtral-00001-of-00003.gguf", "mixtral"),
            ("models/Mistral-7B-v0.3/", "Mistral-7B-v0.3"),
            ("one-of-many", "one-of-many"),
        ] {
            assert_eq!(file_name(Path::new(path)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn origins_are_places() {
        for good in [
            "https://example.com",
            "http://a:8",
            "*",
            "null",
            "app://x",
            "https://a.b/",
        ] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in ["example.com", "https://", "https://a/b", "://a", "", "**"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
