//! The command line: which command is asked for, and how the program ends.

use crate::outcome::Outcome;
use crate::{
    bench, chat, completions, embed, hub, imatrix, inspect, interrupt, logits, man, messages,
    perplexity, quantize, repack, run, serve, tokenize, usage, verify,
};
use bise_kernels::isa::Level;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::sync::LazyLock;

/// Run and quantize Mistral and Mixtral models on the CPU.
///
/// The same model, tokens and settings give the same result on every machine, with any number of
/// threads. MODEL is a GGUF file, any part of a split one, a directory of safetensors in Hugging
/// Face's layout or Mistral's own, or the name of a model that is on disk: OWNER/NAME[:FILE|:TYPE]
/// of a hub, or ollama:NAME. Left out, it is a tiny story teller that is part of the program.
#[derive(Parser)]
#[command(
    name = "bise",
    version,
    long_version = version(),
    propagate_version = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The version, the commit where it is known, and the instruction sets that this machine has.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let commit = match env!("BISE_COMMIT") {
            "" => "unknown",
            commit => commit,
        };
        let levels: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
        let version = env!("CARGO_PKG_VERSION");
        format!("{version}\ncommit {commit}\nlevels {}", levels.join(", "))
    });
    &TEXT
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one, for a moment
enum Command {
    Run(run::Args),
    Chat(chat::Args),
    Serve(serve::Args),
    Pull(hub::pull::Args),
    List(hub::list::Args),
    Rm(hub::remove::Args),
    Quantize(quantize::Args),
    Imatrix(imatrix::Args),
    Verify(verify::Args),
    Repack(repack::Args),
    Inspect(inspect::Args),
    Tokenize(tokenize::Args),
    Embed(embed::Args),
    Logits(logits::Args),
    Perplexity(perplexity::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Does what `words` ask for, the first of which is the program's name, and gives the exit code.
/// Signals that ask the process to end are heard from then on.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    run_with(words, interrupt::listen)
}

/// As [`main`], but signals are those that the host tells of.
pub fn main_hosted(words: impl IntoIterator<Item = OsString>) -> u8 {
    run_with(words, || {
        interrupt::forget();
        Ok(())
    })
}

fn run_with(
    words: impl IntoIterator<Item = OsString>,
    listen: impl FnOnce() -> anyhow::Result<()>,
) -> u8 {
    let words: Vec<_> = words.into_iter().collect();
    let code = match usage::read::<Cli>(&words) {
        Ok(cli) => code(listen().and_then(|()| obey(cli.command))),
        Err(error) => {
            // Where nobody reads it there is nobody to tell.
            let _ = error.print();
            error.exit_code() as u8
        }
    };
    // A host goes on, and what it writes comes after.
    let _ = io::stdout().flush();
    code
}

fn code(result: anyhow::Result<Outcome>) -> u8 {
    match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Bad) => 1,
        Ok(Outcome::CutOff) => 3,
        Ok(Outcome::Interrupted) => interrupt::exit_code(),
        // The reader of a pipe had enough: that is its right.
        Err(error) if is_broken_pipe(&error) => 0,
        Err(error) => {
            messages::error(format_args!("{error:#}"));
            if error.is::<usage::Misuse>() { 2 } else { 1 }
        }
    }
}

fn obey(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Chat(args) => chat::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Pull(args) => hub::pull::run(args),
        Command::List(args) => hub::list::run(args),
        Command::Rm(args) => hub::remove::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Repack(args) => repack::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Imatrix(args) => imatrix::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Logits(args) => logits::run(args),
        Command::Perplexity(args) => perplexity::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

#[cfg(test)]
#[path = "../tests/data_safety/paths.rs"]
mod paths;

#[cfg(test)]
mod tests {
    use super::paths::PATHS;
    use super::*;
    use clap::Arg;
    use clap::builder::ValueParser;

    fn is_called(arg: &Arg, what: &str) -> bool {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| name.contains(what))
    }

    fn names_a_path(arg: &Arg) -> bool {
        let is_path = arg.get_value_parser().type_id() == ValueParser::path_buf().type_id();
        let called_so = ["FILE", "DIR", "OUT"].iter().any(|what| is_called(arg, what));
        arg.get_action().takes_values() && (is_path || called_so)
    }

    /// What may be lost is in the table that the tests of data safety go through.
    #[test]
    fn every_path_is_in_the_table() {
        let command = Cli::command();
        let mut found = Vec::new();
        for command in command.get_subcommands() {
            for arg in command.get_arguments().filter(|arg| names_a_path(arg)) {
                let is_known = |path: &&paths::PathOption| {
                    (path.command, path.id) == (command.get_name(), arg.get_id().as_str())
                };
                let known = PATHS.iter().find(is_known);
                let known = known.unwrap_or_else(|| {
                    panic!(
                        "{} {}: add it to tests/data_safety/paths.rs",
                        command.get_name(),
                        arg.get_id()
                    )
                });
                let spelled = match known.flag {
                    "" => arg.is_positional(),
                    flag => {
                        arg.get_long().is_some_and(|long| flag == format!("--{long}"))
                            || arg.get_short().is_some_and(|short| flag == format!("-{short}"))
                    }
                };
                assert!(spelled, "{known:?}");
                let reads = matches!(known.role, paths::Role::Reads(_));
                assert!(!(reads && is_called(arg, "OUT")), "{known:?}");
                found.push((known.command, known.id));
            }
        }
        assert_eq!(found.len(), PATHS.len(), "an option that is no more: {found:?}");
    }

    #[test]
    fn numbers_out_of_range_are_named_as_typed() {
        for (option, value) in [
            ("--temp", "nan"),
            ("--temperature", "-1"),
            ("--top-p", "1.5"),
            ("--min-p", "inf"),
            ("--typical", "NaN"),
            ("--xtc-probability", "2"),
            ("--repeat-penalty", "0"),
            ("--frequency-penalty", "nan"),
            ("--dry-base", "0.5"),
            ("--mirostat-ent", "0"),
            ("--top-k", "-2"),
            ("--seed", "-2"),
            ("-s", "x"),
            ("-n", "-2"),
            ("--n-predict", "-2"),
            ("--tokens", "1.5"),
            ("-c", "0"),
            ("--ctx-size", "-7"),
            ("-t", "0"),
            ("--threads", "9999"),
            ("--batch-size", "0"),
            ("--draft-max", "65"),
            ("--draft-max", "-1"),
            ("--top-p", "-inf"),
        ] {
            for arguments in [vec![option, value], vec![&format!("{option}={value}")]] {
                if option.len() == 2 && arguments.len() == 1 {
                    continue;
                }
                let words = [&["bise", "run", "-p", "x"], &arguments[..]].concat();
                let words: Vec<_> = words.into_iter().map(Into::into).collect();
                let error = usage::read::<Cli>(&words).err().unwrap();
                let expected = format!("error: invalid value '{value}' for '{option} <");
                assert!(error.to_string().starts_with(&expected), "{words:?}: {error}");
                assert_eq!(error.exit_code(), 2);
            }
        }
    }
}
