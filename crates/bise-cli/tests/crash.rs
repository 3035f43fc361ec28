//! `bise quantize`, killed at any time: the next run goes on and gives the same bytes.
//!
//! `BISE_KILLS=100 cargo test -p bise-cli --release --test crash -- --nocapture` kills a hundred
//! times.

#[path = "../../../tools/quantize/tests/directory/mod.rs"]
mod directory;
#[path = "../../../tools/quantize/tests/jobs/mod.rs"]
mod jobs;

use bise_quantize::{Options, Target};
use jobs::{resume, source, undisturbed};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

fn options() -> Options {
    Options {
        threads: Some(2),
        ..Options::new(Target::from_name("Q8_0").unwrap())
    }
}

#[test]
fn killed_at_any_time_it_goes_on() {
    let kills: u32 = std::env::var("BISE_KILLS").map_or(8, |n| n.parse().unwrap());
    let src = source();
    let expected = undisturbed(src.path(), &options());
    let out = TempDir::new().unwrap();
    let dst = out.path().join("out.gguf");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bise"));
        command.arg("quantize").arg(src.path()).arg(&dst);
        command.args(["--type", "Q8_0", "-t", "2", "--no-probe"]);
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = begun.elapsed();
    assert!(fs::read(&dst).unwrap() == expected);

    let (mut killed, mut resumed) = (0, 0);
    let mut state = 1u64;
    while killed < kills {
        fs::remove_file(&dst).unwrap();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut child = start();
        std::thread::sleep(whole.mul_f64((state >> 40) as f64 / (1u64 << 24) as f64));
        child.kill().unwrap();
        // By SIGKILL, unless it had ended before.
        killed += u32::from(child.wait().unwrap().code().is_none());
        assert!(!dst.exists() || fs::read(&dst).unwrap() == expected);
        let notes = resume(src.path(), &dst, &options(), &expected);
        resumed += u32::from(notes.contains("went on after"));
    }
    println!("{killed} kills, {resumed} of them with work to go on from; one result");
    assert!(
        resumed > 0,
        "kills within {whole:?} were all too early or too late"
    );
}
