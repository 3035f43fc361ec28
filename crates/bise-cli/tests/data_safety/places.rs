//! Places for outputs are tried before the work, and messages name what the user named.

use super::paths::{PATHS, Role};
use super::{bise, contents, fails, fixture, text};
use std::fs;

/// A command line of `command` that would do its work and write `output`.
fn command_line<'a>(
    command: &'a str,
    flag: &'a str,
    output: &'a str,
    model: &'a str,
) -> Vec<&'a str> {
    let mut line = vec![command];
    match command {
        "bench" => line.extend(["--synthetic", "mistral-7b:Q4_0", "--layers", "1"]),
        _ => line.push(model),
    }
    match command {
        "run" if flag == "--output-jsonl" => line.extend(["--input-jsonl", "text"]),
        "run" => line.extend(["-p", "Hello", "-n", "2"]),
        "imatrix" => line.extend(["-f", "text"]),
        "logits" => line.extend(["--tokens", "1,2"]),
        "quantize" => line.extend(["--type", "Q8_0", "--no-probe"]),
        _ => {}
    }
    line.extend([flag, output].into_iter().filter(|word| !word.is_empty()));
    line
}

#[test]
fn no_work_is_done_for_a_place_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("text"), "Once upon a time").unwrap();
    // A model that takes long to read would show that it was read: this one cannot be.
    fs::write(folder.join("model"), "GGUF").unwrap();
    fs::create_dir(folder.join("made")).unwrap();
    let before = contents(folder);
    for option in PATHS.iter().filter(|path| path.role == Role::Writes) {
        for (output, words) in [
            ("absent/out", "there is no folder absent"),
            ("text/out", "there is no folder text"),
            ("made", "it is a folder"),
            ("new/", "it is a folder"),
        ] {
            let line = command_line(option.command, option.flag, output, "model");
            let told = fails(folder, &line, "");
            assert!(told.contains(words) && told.contains(output), "{line:?}: {told}");
            assert!(
                !told.contains("tmp") && !told.contains("bise-"),
                "{line:?}: {told}"
            );
            assert!(contents(folder) == before, "{line:?}");
        }
    }
    let told = bise(folder, &["chat"], "/save absent/talk.json\n/save made\n");
    let told = text(&told.stderr);
    assert!(
        told.contains("there is no folder absent") && told.contains("it is a folder"),
        "{told}"
    );
    assert!(contents(folder) == before);
}

/// Only a user who may not do everything can be refused.
#[cfg(unix)]
#[test]
fn what_may_not_be_written_is_said_before_the_work() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("text"), "Once upon a time").unwrap();
    fs::write(folder.join("model"), "GGUF").unwrap();
    fs::write(folder.join("kept"), "precious").unwrap();
    fs::create_dir(folder.join("closed")).unwrap();
    fs::set_permissions(folder.join("kept"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let everything = fs::write(folder.join("closed/try"), "").is_ok();
    let _ = fs::remove_file(folder.join("closed/try"));
    for option in PATHS.iter().filter(|path| path.role == Role::Writes) {
        let line = command_line(option.command, option.flag, "kept", "model");
        let told = fails(folder, &line, "");
        assert!(
            told.contains("cannot write kept") && told.contains("read-only"),
            "{line:?}: {told}"
        );
        if !everything {
            let line = command_line(option.command, option.flag, "closed/out", "model");
            let told = fails(folder, &line, "");
            assert!(
                told.contains("cannot write closed/out: permission denied"),
                "{line:?}: {told}"
            );
        }
    }
    assert_eq!(fs::read(folder.join("kept")).unwrap(), b"precious");
}

/// Types that are only read are refused by every option, with what can be written, and nothing is
/// left.
#[test]
fn types_that_are_only_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let src = fixture("tiny-mistral");
    let src = src.to_str().unwrap();
    for dtype in ["IQ1_S", "iq2_xxs", "TQ1_0", "MXFP4", "nvfp4", "F8_E4M3"] {
        let pattern = format!("attn_k={dtype}");
        for options in [
            &["--type", dtype][..],
            &["--type", "Q8_0", "--output-type", dtype],
            &["--type", "Q8_0", "--embedding-type", dtype],
            &["--bpw", "6", "--tensor-type", &pattern],
        ] {
            let told = fails(folder, &[&["quantize", src, "out.gguf"], options].concat(), "");
            let what = format!(
                "{} is a type that is only read; expected one of F32",
                dtype.to_uppercase()
            );
            assert!(
                told.contains(&what) && told.contains("Q6_K"),
                "{options:?}: {told}"
            );
            assert!(contents(folder).is_empty(), "{options:?}");
        }
    }
}

/// A synthetic model that no disk holds is refused before the first byte.
#[test]
fn a_disk_that_is_too_small_is_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = [
        "bench",
        "--synthetic",
        "mixtral-8x22b:F32",
        "--layers",
        "1024",
        "--write",
        "out.gguf",
    ];
    let told = fails(folder, &line, "");
    assert!(told.contains("out.gguf: the disk is full"), "{told}");
    assert!(contents(folder).is_empty());
}
