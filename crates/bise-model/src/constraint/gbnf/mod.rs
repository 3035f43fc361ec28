//! GBNF, the grammars of llama.cpp, as Lark.
//!
//! ```text
//! root   ::= (expr "=" ws term "\n")+        rules, the first one called root
//! expr   ::= term ([-+*/] term)*             texts, characters, groups, choices
//! term   ::= [a-z] | [0-9]{1,3}              * + ? {n} {n,} {n,m}
//! ws     ::= [ \t\n]*                        # a comment
//! ```
//!
//! Lark splits a text into terminals, and takes the longest one; GBNF knows characters alone. So
//! each character becomes a terminal of its own, and the grammar describes the same texts.

mod parse;
mod rules;

use super::ConstraintError;
use rules::Expr;
use std::collections::HashMap;
use std::fmt::Write;

/// The grammar `text` in Lark's syntax.
pub(super) fn to_lark(text: &str) -> Result<String, ConstraintError> {
    let rules = parse::parse(text)?;
    let names = lark_names(&rules.names);
    let mut lark = String::new();
    for (name, body) in names.iter().zip(&rules.bodies) {
        let _ = write!(lark, "{name}: ");
        write_expr(body, &names, &mut lark);
        lark.push('\n');
    }
    Ok(lark)
}

/// Lark has small letters in the names of rules, and begins with `start`.
fn lark_names(names: &[String]) -> Vec<String> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut lark = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        // Where names differ in large and small letters only, their numbers tell them apart.
        let small = format!("r-{}", name.to_ascii_lowercase());
        let twin = taken.insert(small.clone(), i).is_some();
        lark.push(match (i, twin) {
            (0, _) => "start".to_owned(),
            (_, false) => small,
            (_, true) => format!("x{i}-{small}"),
        });
    }
    lark
}

fn write_expr(expr: &Expr, names: &[String], lark: &mut String) {
    match expr {
        Expr::Choice(choices) => {
            lark.push('(');
            for (i, choice) in choices.iter().enumerate() {
                if i > 0 {
                    lark.push_str(" | ");
                }
                write_expr(choice, names, lark);
            }
            lark.push(')');
        }
        Expr::Sequence(parts) if parts.is_empty() => lark.push_str("\"\""),
        Expr::Sequence(parts) => {
            lark.push('(');
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    lark.push(' ');
                }
                write_expr(part, names, lark);
            }
            lark.push(')');
        }
        Expr::Repeat(_, _, Some(0)) => lark.push_str("\"\""),
        Expr::Repeat(part, least, most) => {
            lark.push('(');
            write_expr(part, names, lark);
            lark.push(')');
            match (least, most) {
                (0, None) => lark.push('*'),
                (1, None) => lark.push('+'),
                (0, Some(1)) => lark.push('?'),
                (least, None) => {
                    let _ = write!(lark, "{{{least},}}");
                }
                (least, Some(most)) => {
                    let _ = write!(lark, "{{{least},{most}}}");
                }
            }
        }
        Expr::Chars { negated, ranges } => write_chars(*negated, ranges, lark),
        Expr::Rule(rule) => lark.push_str(&names[*rule]),
    }
}

/// `/[\u{61}-\u{7a}]/`; every character by its number, so that none has a meaning.
fn write_chars(negated: bool, ranges: &[(char, char)], lark: &mut String) {
    lark.push_str(if negated { "/[^" } else { "/[" });
    for &(first, last) in ranges {
        let _ = write!(lark, "\\u{{{:x}}}", u32::from(first));
        if first != last {
            let _ = write!(lark, "-\\u{{{:x}}}", u32::from(last));
        }
    }
    lark.push_str("]/");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_lark() {
        let gbnf = "root ::= \"ab\" Item* # two\nItem ::= [^0-9\\n] | item{2,}\nitem ::= .?";
        let lark = to_lark(gbnf).unwrap();
        assert_eq!(
            lark,
            "start: ((/[\\u{61}]/ /[\\u{62}]/) (r-item)*)\n\
             r-item: (/[^\\u{30}-\\u{39}\\u{a}]/ | (x2-r-item){2,})\n\
             x2-r-item: (/[\\u{0}-\\u{10ffff}]/)?\n"
        );
    }
}
