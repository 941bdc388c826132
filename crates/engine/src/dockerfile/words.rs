//! Words of instructions: split at white space, and with the values of variables in them. Source: Dockerfile reference,
//! "Environment replacement".

/// Splits at white space outside of quotes. Quotes and escapes stay in the words.
pub fn split(text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = None;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(begin) = begin.take() {
                words.push(&text[begin..at]);
            }
            continue;
        }
        begin.get_or_insert(at);
        match (c, quote) {
            // Nothing is special in single quotes but their end.
            (c, open) if c == escape && open != Some('\'') => {
                characters.next();
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    words.extend(begin.map(|begin| &text[begin..]));
    words
}

/// What quotes mean in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They group, and go.
    Removed,
    /// They are characters like others: in here-documents, where only `\$` and `\\` are escapes.
    Kept,
}

/// Puts the values of variables in. The error is what is wrong, to be put behind the word.
pub fn expand(
    text: &str,
    escape: char,
    quotes: Quotes,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut expansion = Expansion {
        left: text.chars().collect(),
        at: 0,
        escape,
        quotes,
        value_of,
        depth: 0,
    };
    expansion.until(None)
}

/// `${...}` in each other.
const DEEPEST: usize = 32;

struct Expansion<'a> {
    left: Vec<char>,
    at: usize,
    escape: char,
    quotes: Quotes,
    value_of: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl Expansion<'_> {
    fn peek(&self) -> Option<char> {
        self.left.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    /// Up to a character outside of quotes, which is taken; or to the end.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        let mut quote = None;
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end && quote.is_none() => return Ok(out),
                '\'' if quote == Some('\'') => quote = None,
                c if quote == Some('\'') => out.push(c),
                c if c == self.escape => self.escaped(&mut out, quote),
                '$' => out.push_str(&self.variable()?),
                '"' if quote == Some('"') => quote = None,
                '\'' | '"' if quote.is_none() && self.quotes == Quotes::Removed => quote = Some(c),
                c => out.push(c),
            }
        }
        match (quote, end) {
            (Some(quote), _) => Err(format!("the quote {quote} has no end")),
            (None, Some(end)) => Err(format!("`${{` has no `{end}`")),
            (None, None) => Ok(out),
        }
    }

    fn escaped(&mut self, out: &mut String, quote: Option<char>) {
        let next = self.peek();
        let is_escape = match (self.quotes, quote) {
            (Quotes::Kept, _) => matches!(next, Some('$')) || next == Some(self.escape),
            (Quotes::Removed, Some(_)) => matches!(next, Some('$' | '"')) || next == Some(self.escape),
            // At the very end it is none.
            (Quotes::Removed, None) => next.is_some(),
        };
        match is_escape {
            true => out.extend(self.next()),
            false => out.push(self.escape),
        }
    }

    fn variable(&mut self) -> Result<String, String> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.is_empty() {
                true => "$".into(),
                false => (self.value_of)(&name).unwrap_or_default(),
            });
        }
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return Err("`${` is followed by no name".into());
        }
        let value = (self.value_of)(&name);
        let is_set_only = self.peek() != Some(':');
        self.at += usize::from(!is_set_only);
        let operator = self.next();
        if operator == Some('}') && is_set_only {
            return Ok(value.unwrap_or_default());
        }
        if !matches!(operator, Some('-' | '+' | '?')) {
            let shown = operator.map_or("nothing".to_owned(), |c| format!("`{c}`"));
            return Err(format!(
                "`${{{name}` is followed by {shown}: only `${{x}}`, `${{x:-y}}`, `${{x:+y}}` and `${{x:?y}}` are supported"
            ));
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it has too many `${` in each other".into());
        }
        let other = self.until(Some('}'))?;
        self.depth -= 1;
        let value = value.filter(|value| is_set_only || !value.is_empty());
        match (operator, value) {
            (Some('-'), value) => Ok(value.unwrap_or(other)),
            (Some('+'), value) => Ok(value.map(|_| other).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) if other.is_empty() => Err(format!("the variable {name} is not set")),
            (_, None) => Err(format!("the variable {name} is not set: {other}")),
        }
    }

    /// The name of a variable; one character for those that only shells have, and which are never set here.
    fn name(&mut self) -> String {
        match self.peek() {
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                c.into()
            }
            _ => {
                let begin = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                self.left[begin..self.at].iter().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value_of(name: &str) -> Option<String> {
        match name {
            "x" => Some("X".into()),
            "sp" => Some("a b".into()),
            "empty" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn words_end_at_white_space_outside_of_quotes() {
        for (text, words) in [
            ("a b\tc", vec!["a", "b", "c"]),
            ("  a  ", vec!["a"]),
            ("", vec![]),
            (r#"a="b c" d='e "f'"#, vec![r#"a="b c""#, r#"d='e "f'"#]),
            (r"a\ b c\", vec![r"a\ b", r"c\"]),
            (r#""a\" b" c"#, vec![r#""a\" b""#, "c"]),
            (r"'a\' b", vec![r"'a\'", "b"]),
        ] {
            assert_eq!(split(text, '\\'), words, "{text}");
        }
        assert_eq!(split(r"a` b c\ d", '`'), ["a` b", r"c\", "d"]);
    }

    /// Source: Dockerfile reference, "Environment replacement", and BuildKit's envVarTest.
    #[test]
    fn variables_are_replaced_as_docker_does() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$x", "X"),
            ("${x}", "X"),
            ("a${x}b$x.c", "aXbX.c"),
            ("$xy", ""),
            ("$none", ""),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("$1$@", ""),
            (r"\$x", "$x"),
            (r"\\$x", r"\X"),
            (r"a\b", "ab"),
            (r"a\", r"a\"),
            ("'$x'", "$x"),
            ("\"$x\"", "X"),
            (r#""a\"b\$x\n""#, r#"a"b$x\n"#),
            ("'a'\"b\"c", "abc"),
            ("$sp", "a b"),
            ("${x:-y}", "X"),
            ("${none:-y}", "y"),
            ("${empty:-y}", "y"),
            ("${empty-y}", ""),
            ("${none-y}", "y"),
            ("${x:+y}", "y"),
            ("${empty:+y}", ""),
            ("${empty+y}", "y"),
            ("${none+y}", ""),
            ("${none:-$x}", "X"),
            ("${none:-${x:+z}}w", "zw"),
            ("${none:-'}'}", "}"),
            (r"${none:-a\}b}", "a}b"),
            ("${x:?no}", "X"),
            ("${none:-}", ""),
            ("\u{e4}$x\u{20ac}", "\u{e4}X\u{20ac}"),
        ] {
            let found = expand(text, '\\', Quotes::Removed, &value_of);
            assert_eq!(found.as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            expand("`$x$x", '`', Quotes::Removed, &value_of).as_deref(),
            Ok("$xX")
        );
    }

    #[test]
    fn here_documents_keep_quotes_and_most_escapes() {
        for (text, expected) in [
            ("it's \"$x\"\n", "it's \"X\"\n"),
            (r"\$x \\ \n \'", r"$x \ \n \'"),
        ] {
            assert_eq!(
                expand(text, '\\', Quotes::Kept, &value_of).as_deref(),
                Ok(expected)
            );
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        for (text, words) in [
            ("${", "no name"),
            ("${}", "no name"),
            ("${x", "nothing"),
            ("${x:-y", "no `}`"),
            ("${x:y}", "`y`"),
            ("${x#y}", "only `${x}`"),
            ("'x", "no end"),
            ("\"x", "no end"),
            ("${none:?give one}", "none is not set: give one"),
            ("${none?}", "none is not set"),
        ] {
            let error = expand(text, '\\', Quotes::Removed, &value_of).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let deep = format!("{}{}", "${none:-".repeat(100_000), "}".repeat(100_000));
        expand(&deep, '\\', Quotes::Removed, &value_of).unwrap_err();
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_replaced_or_refused(text in "[a-c$ {}:+?'\"\\\\-]{0,40}") {
            for quotes in [Quotes::Removed, Quotes::Kept] {
                let _ = expand(&text, '\\', quotes, &value_of);
            }
            let words = split(&text, '\\');
            prop_assert!(words.iter().all(|word| !word.is_empty()));
        }
    }
}
