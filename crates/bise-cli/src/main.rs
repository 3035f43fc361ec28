//! `bise`: run and quantize Mistral and Mixtral on the CPU.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bise_cli::main(std::env::args_os()).into()
}
