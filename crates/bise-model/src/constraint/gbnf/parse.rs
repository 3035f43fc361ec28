//! Reading GBNF.

use super::super::ConstraintError;
use super::rules::{Expr, Rules};
use std::collections::HashMap;

/// Parentheses within parentheses, at most.
const DEPTH: usize = 200;

/// Repetitions that a grammar may ask for, at most.
const REPETITIONS: u32 = 2000;

/// Reads `text`; `root` becomes the first rule.
pub(super) fn parse(text: &str) -> Result<Rules, ConstraintError> {
    let parser = Parser {
        chars: text.chars().collect(),
        at: 0,
        names: vec!["root".to_owned()],
        numbers: HashMap::from([("root".to_owned(), 0)]),
        bodies: vec![None],
        uses: vec![0],
        depth: 0,
    };
    parser.rules()
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    bodies: Vec<Option<Expr>>,
    /// Where each rule is named first.
    uses: Vec<usize>,
    depth: usize,
}

type Parsed<T> = Result<T, ConstraintError>;

impl Parser {
    fn rules(mut self) -> Parsed<Rules> {
        self.skip_space(true);
        while self.at < self.chars.len() {
            self.rule()?;
            self.skip_space(true);
        }
        let missing = self.bodies.iter().position(Option::is_none);
        if let Some(missing) = missing {
            return Err(self.error_at(
                self.uses[missing],
                format!("there is no rule '{}'", self.names[missing]),
            ));
        }
        Ok(Rules {
            names: self.names,
            bodies: self.bodies.into_iter().flatten().collect(),
        })
    }

    /// `name ::= choices`
    fn rule(&mut self) -> Parsed<()> {
        let start = self.at;
        let rule = self.name()?;
        if self.bodies[rule].is_some() {
            return Err(
                self.error_at(start, format!("there is another rule '{}'", self.names[rule]))
            );
        }
        self.skip_space(false);
        for c in "::=".chars() {
            self.expect(c, "'::=' after the name of a rule")?;
        }
        self.skip_space(true);
        let body = self.choices(false)?;
        self.bodies[rule] = Some(body);
        match self.peek() {
            None | Some('\r' | '\n') => Ok(()),
            Some(found) => Err(self.error(format!("'{found}' where a rule should end"))),
        }
    }

    fn name(&mut self) -> Parsed<usize> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        if name.is_empty() {
            return Err(self.error("expected the name of a rule".into()));
        }
        if let Some(&rule) = self.numbers.get(&name) {
            return Ok(rule);
        }
        self.numbers.insert(name.clone(), self.names.len());
        self.names.push(name);
        self.bodies.push(None);
        self.uses.push(start);
        Ok(self.names.len() - 1)
    }

    /// Choices between bars; within parentheses they may go on in the next line.
    fn choices(&mut self, nested: bool) -> Parsed<Expr> {
        if self.depth == DEPTH {
            return Err(self.error(format!("more than {DEPTH} parentheses within each other")));
        }
        self.depth += 1;
        let mut choices = vec![self.sequence(nested)?];
        while self.peek() == Some('|') {
            self.at += 1;
            self.skip_space(true);
            choices.push(self.sequence(nested)?);
        }
        self.depth -= 1;
        Ok(if choices.len() == 1 {
            choices.remove(0)
        } else {
            Expr::Choice(choices)
        })
    }

    fn sequence(&mut self, nested: bool) -> Parsed<Expr> {
        let mut parts = Vec::new();
        while let Some(part) = self.part(nested)? {
            parts.push(part);
            self.skip_space(nested);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Expr::Sequence(parts)
        })
    }

    /// A text, characters, a rule or a group, and how often; `None` where something else follows.
    fn part(&mut self, nested: bool) -> Parsed<Option<Expr>> {
        let part = match self.peek() {
            Some('"') => self.text()?,
            Some('[') => self.characters()?,
            Some('.') => {
                self.at += 1;
                Expr::Chars {
                    negated: false,
                    ranges: vec![('\0', char::MAX)],
                }
            }
            Some('(') => {
                self.at += 1;
                self.skip_space(true);
                let inner = self.choices(true)?;
                self.expect(')', "')'")?;
                inner
            }
            Some('<' | '!') => {
                return Err(self.error(
                    "tokens by name or number cannot be expressed; write their text".into(),
                ));
            }
            Some(c) if c.is_ascii_alphanumeric() || c == '_' => Expr::Rule(self.name()?),
            _ => return Ok(None),
        };
        self.skip_space(nested);
        self.repeated(part, nested).map(Some)
    }

    fn repeated(&mut self, mut part: Expr, nested: bool) -> Parsed<Expr> {
        loop {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => self.counts()?,
                _ => return Ok(part),
            };
            self.at += 1;
            self.skip_space(nested);
            part = Expr::Repeat(Box::new(part), least, most);
        }
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}`, up to before the closing brace.
    fn counts(&mut self) -> Parsed<(u32, Option<u32>)> {
        let start = self.at;
        self.at += 1;
        let least = self.number()?;
        let comma = self.peek() == Some(',');
        self.at += usize::from(comma);
        let most = if comma { self.number()? } else { least };
        if self.peek() != Some('}') || (least.is_none() && most.is_none()) {
            return Err(self.error_at(start, "expected {n}, {n,} or {n,m}".into()));
        }
        let bounds = (least.unwrap_or(0), most);
        match bounds {
            (least, Some(most)) if least > most => {
                Err(self.error_at(start, format!("at least {least} but at most {most}")))
            }
            _ => Ok(bounds),
        }
    }

    fn number(&mut self) -> Parsed<Option<u32>> {
        let start = self.at;
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let next = number.unwrap_or(0) * 10 + digit;
            if next > REPETITIONS {
                return Err(self.error_at(start, format!("more than {REPETITIONS} repetitions")));
            }
            number = Some(next);
            self.at += 1;
        }
        Ok(number)
    }

    /// `"text"`
    fn text(&mut self) -> Parsed<Expr> {
        let start = self.at;
        self.at += 1;
        let mut parts = Vec::new();
        while self.peek() != Some('"') {
            let c = self.character(start, "\" of a text")?;
            parts.push(Expr::Chars {
                negated: false,
                ranges: vec![(c, c)],
            });
        }
        self.at += 1;
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Expr::Sequence(parts)
        })
    }

    /// `[a-z]` or `[^a-z]`
    fn characters(&mut self) -> Parsed<Expr> {
        let start = self.at;
        self.at += 1;
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        while self.peek() != Some(']') {
            let from = self.at;
            let first = self.character(start, "] of characters")?;
            let ranged =
                self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|&c| c != ']');
            let mut last = first;
            if ranged {
                self.at += 1;
                last = self.character(start, "] of characters")?;
            }
            if first > last {
                return Err(
                    self.error_at(from, format!("no characters from {first:?} to {last:?}"))
                );
            }
            ranges.push((first, last));
        }
        self.at += 1;
        match (negated, ranges.is_empty()) {
            (false, true) => Err(self.error_at(start, "no characters between [ and ]".into())),
            (true, true) => Ok(Expr::Chars {
                negated: false,
                ranges: vec![('\0', char::MAX)],
            }),
            (negated, false) => Ok(Expr::Chars { negated, ranges }),
        }
    }

    /// One character, or the escape of one; `end` would end what began at `start`.
    fn character(&mut self, start: usize, end: &str) -> Parsed<char> {
        let at = self.at;
        let c = self
            .next()
            .ok_or_else(|| self.error_at(start, format!("no closing {end}")))?;
        if c != '\\' {
            return Ok(c);
        }
        let escape = self
            .next()
            .ok_or_else(|| self.error_at(start, format!("no closing {end}")))?;
        let digits = match escape {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            '\\' | '"' | '[' | ']' | '-' | '^' => return Ok(escape),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(self.error_at(at, format!("there is no escape '\\{escape}'"))),
        };
        let mut number = 0u32;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| {
                self.error_at(at, format!("'\\{escape}' needs {digits} hexadecimal digits"))
            })?;
            number = number.wrapping_mul(16).wrapping_add(digit);
        }
        char::from_u32(number)
            .ok_or_else(|| self.error_at(at, format!("there is no character U+{number:04X}")))
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn expect(&mut self, expected: char, what: &str) -> Parsed<()> {
        if self.peek() != Some(expected) {
            return Err(self.error(format!("expected {what}")));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips spaces and comments, and ends of lines where `lines` says so.
    fn skip_space(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => self.at += 1,
                '\r' | '\n' if lines => self.at += 1,
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n' && c != '\r') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
    }

    fn error(&self, problem: String) -> ConstraintError {
        self.error_at(self.at, problem)
    }

    fn error_at(&self, at: usize, problem: String) -> ConstraintError {
        let before = &self.chars[..at];
        ConstraintError::Gbnf {
            line: before.iter().filter(|&&c| c == '\n').count() + 1,
            column: before.iter().rev().take_while(|&&c| c != '\n').count() + 1,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        let cases = [
            ("", 1, 1, "no rule 'root'"),
            ("root ::= a", 1, 10, "no rule 'a'"),
            ("root ::= \"a\"\nroot ::= \"b\"", 2, 1, "another rule 'root'"),
            ("root = \"a\"", 1, 6, "'::='"),
            ("root ::= \"a", 1, 10, "no closing \""),
            ("root ::= [a", 1, 10, "no closing ]"),
            ("root ::= []", 1, 10, "no characters"),
            ("root ::= [z-a]", 1, 11, "from 'z' to 'a'"),
            ("root ::=\n  \"a\" ) b", 2, 7, "')'"),
            ("root ::= ( \"a\"", 1, 15, "')'"),
            ("root ::= \"\\q\"", 1, 11, "'\\q'"),
            ("root ::= \"\\xg0\"", 1, 11, "2 hexadecimal"),
            ("root ::= \"\\uD800\"", 1, 11, "U+D800"),
            ("root ::= \"a\"{3,2}", 1, 13, "at most 2"),
            ("root ::= \"a\"{,}", 1, 13, "{n}"),
            ("root ::= \"a\"{99999}", 1, 14, "2000"),
            ("root ::= <think>", 1, 10, "tokens"),
        ];
        for (text, line, column, words) in cases {
            let error = parse(text).unwrap_err();
            let ConstraintError::Gbnf {
                line: l,
                column: c,
                problem,
            } = &error
            else {
                panic!("{error}");
            };
            assert!(
                (*l, *c) == (line, column) && problem.contains(words),
                "{text}: {error}"
            );
        }
        let deep = format!("root ::= {}\"a\"", "(".repeat(100_000));
        assert!(parse(&deep).unwrap_err().to_string().contains("200 parentheses"));
    }
}
