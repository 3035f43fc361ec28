//! The program `bise` as a library: whoever has a command line runs it ([`main`]), and hosts that
//! are programs of their own start models and quantizers with the same options ([`hosted`]).
//!
//! A file or folder for each subcommand, which reads its options, calls the libraries and prints.
//! `runtime`, `loading`, `sampling` and `session` hold what several have in common; `messages` has
//! the form of errors and notes, which go to standard error; results go to standard output. The
//! program ends with 0, with 1 after an error, with 2 after a mistake on the command line, and with
//! 3 when a text was cut off before its grammar let it end.
#![forbid(unsafe_code)]

mod adapter_facts;
mod bench;
mod chat;
mod completions;
mod constraint;
mod destination;
mod divergence;
mod drafts;
mod embed;
mod family;
pub mod hosted;
mod hub;
mod imatrix;
mod inspect;
mod interrupt;
mod loading;
mod logits;
mod lora;
mod machine;
mod man;
mod messages;
mod numbers;
mod outcome;
mod perplexity;
mod pooling;
mod probe;
mod program;
mod progress;
mod quantize;
mod repack;
mod run;
mod runtime;
mod sampling;
mod serve;
mod session;
mod shown;
mod together;
mod tokenize;
mod usage;
mod verify;

pub use program::main;
