//! Which file of a crate uses items of which other, read from the sources' text.

use crate::source::{group, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files of one crate, and what uses what.
pub struct Crate {
    pub files: Vec<PathBuf>,
    /// `(user, owner)` to a path that names an item of the owner.
    pub uses: BTreeMap<(usize, usize), String>,
}

/// What a name in a module stands for.
#[derive(Clone)]
enum Meaning {
    Item,
    Module(usize),
    Import(Vec<String>),
}

/// A module, in a file of its own or in one with others.
#[derive(Default)]
struct Module {
    file: usize,
    parent: usize,
    names: BTreeMap<String, Vec<Meaning>>,
    /// Modules of which it has all names.
    globs: Vec<Vec<String>>,
    /// Paths that its code names items by, and lone names in it.
    paths: BTreeSet<Vec<String>>,
    words: BTreeSet<String>,
    /// Names re-exported.
    exports: Vec<String>,
    declares_modules: bool,
}

/// Reads the crate whose root is `root` (its `lib.rs` or `main.rs`).
pub fn read(root: &Path) -> Crate {
    let mut reader = Reader::default();
    reader.file(root, root.parent().unwrap(), 0);
    let mut uses = BTreeMap::new();
    for n in 0..reader.modules.len() {
        let module = &reader.modules[n];
        // A facade's re-export is a use only if the facade's code has the name too.
        let exported = module.exports.iter();
        let exported =
            exported.filter(|name| !module.declares_modules || module.words.contains(*name));
        let by_glob = module
            .words
            .iter()
            .filter(|word| !module.names.contains_key(*word));
        let lone = exported.chain(by_glob).map(|name| vec![name.clone()]);
        for path in module.paths.iter().cloned().chain(lone) {
            if let Some(owner) = reader.owner(n, &path, 0).filter(|owner| *owner != module.file) {
                uses.insert((module.file, owner), path.join("::"));
            }
        }
    }
    Crate {
        files: reader.files,
        uses,
    }
}

#[derive(Default)]
struct Reader {
    files: Vec<PathBuf>,
    modules: Vec<Module>,
}

impl Reader {
    /// Reads a module in a file of its own, whose modules have theirs in `folder`.
    fn file(&mut self, path: &Path, folder: &Path, parent: usize) -> usize {
        let text = fs::read_to_string(path).unwrap();
        self.files.push(path.to_path_buf());
        self.module(&tokens(&text), self.files.len() - 1, folder, parent)
    }

    fn module(&mut self, tokens: &[&str], file: usize, folder: &Path, parent: usize) -> usize {
        let this = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            ..Module::default()
        });
        let mut depth = 0;
        let mut at = 0;
        while at < tokens.len() {
            let next = tokens.get(at + 1).copied().unwrap_or("");
            let before = if at > 0 { tokens[at - 1] } else { "" };
            match tokens[at] {
                "mod" if tokens[at + 2] == ";" => {
                    let inner = folder.join(next);
                    let paths = [folder.join(format!("{next}.rs")), inner.join("mod.rs")];
                    let path = paths.iter().find(|path| path.exists()).unwrap();
                    let module = self.file(path, &inner, this);
                    self.modules[this].define(next, Meaning::Module(module));
                    self.modules[this].declares_modules = true;
                    at += 2;
                }
                "mod" if tokens[at + 2] == "{" => {
                    let length = group(&tokens[at + 2..]);
                    let inside = &tokens[at + 3..at + 1 + length];
                    let module = self.module(inside, file, &folder.join(next), this);
                    self.modules[this].define(next, Meaning::Module(module));
                    at += 1 + length;
                }
                "use" if next != "<" => {
                    let length = tokens[at..].iter().position(|token| *token == ";").unwrap();
                    let exported = before == "pub" || before == ")";
                    self.modules[this].import(&mut &tokens[at + 1..at + length], &[], exported);
                    at += length;
                }
                "{" => depth += 1,
                "}" => depth -= 1,
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union"
                    if depth == 0 =>
                {
                    self.modules[this].define(next, Meaning::Item);
                }
                "macro_rules" => self.modules[this].define(tokens[at + 2], Meaning::Item),
                word if is_word(word) && before != "." && before != "::" => {
                    let mut path = vec![word.to_string()];
                    while tokens[at + 1..].len() > 1
                        && tokens[at + 1] == "::"
                        && is_word(tokens[at + 2])
                    {
                        path.push(tokens[at + 2].to_string());
                        at += 2;
                    }
                    self.modules[this].words.insert(path[0].clone());
                    if path.len() > 1 {
                        self.modules[this].paths.insert(path);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        this
    }

    /// The file that defines the item which `path` names in `module`; none if it is no item of this
    /// crate.
    fn owner(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let root = match &**first {
            "crate" => 0,
            "self" => module,
            "super" => self.modules[module].parent,
            _ => return self.named(module, first, rest, depth + 1),
        };
        match rest.first().map(|name| &**name) {
            None => None,
            Some("super") => self.owner(root, rest, depth),
            Some(name) => self.named(root, name, &rest[1..], depth + 1),
        }
    }

    fn named(&self, module: usize, name: &str, rest: &[String], depth: usize) -> Option<usize> {
        if depth > 20 {
            return None;
        }
        let this = &self.modules[module];
        // With more to come a name is a module's if it can be; the last is an item's.
        let mut meanings = this.names.get(name).cloned().unwrap_or_default();
        meanings.sort_by_key(|meaning| matches!(meaning, Meaning::Module(_)) == rest.is_empty());
        let by_name = meanings.iter().find_map(|meaning| match meaning {
            Meaning::Item => Some(this.file),
            Meaning::Module(inner) => self.named(*inner, rest.first()?, &rest[1..], depth + 1),
            Meaning::Import(path) if path[0] == name && path.len() == 1 => None,
            Meaning::Import(path) => self.owner(module, &[path, rest].concat(), depth + 1),
        });
        by_name.or_else(|| {
            let mut globs = this.globs.iter();
            globs.find_map(|glob| {
                self.owner(
                    module,
                    &[&glob[..], &[name.to_string()], rest].concat(),
                    depth + 1,
                )
            })
        })
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

impl Module {
    fn define(&mut self, name: &str, meaning: Meaning) {
        self.names.entry(name.to_string()).or_default().push(meaning);
    }

    /// Reads one tree of a `use`, after the names in `before`.
    fn import(&mut self, tokens: &mut &[&str], before: &[String], exported: bool) {
        let mut path = before.to_vec();
        while let Some((token, rest)) = tokens.split_first() {
            *tokens = rest;
            match *token {
                "::" => {}
                "{" => {
                    while tokens[0] != "}" {
                        self.import(tokens, &path, exported);
                        if tokens[0] == "," {
                            *tokens = &tokens[1..];
                        }
                    }
                    *tokens = &tokens[1..];
                    return;
                }
                "*" => return self.globs.push(path),
                "self" if !before.is_empty() => {}
                name => path.push(name.to_string()),
            }
            if matches!(tokens.first(), None | Some(&("," | "}" | "as"))) {
                break;
            }
        }
        let mut name = path.last().unwrap().clone();
        if tokens.first() == Some(&"as") {
            name = tokens[1].to_string();
            *tokens = &tokens[2..];
        }
        if exported {
            self.exports.push(name.clone());
        } else {
            self.paths.insert(path.clone());
        }
        self.define(&name, Meaning::Import(path));
    }
}
