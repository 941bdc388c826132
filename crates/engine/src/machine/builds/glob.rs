//! Patterns of `COPY`: `*`, `?` and `[...]` within a name. Source: Go, `path/filepath`, Match.

/// Whether a text has any of them.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether a name matches.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    rest(&pattern, &name)
}

/// Whether a path matches, part by part.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    patterns.len() == parts.len()
        && patterns
            .iter()
            .zip(parts)
            .all(|(pattern, part)| matches(pattern, part))
}

fn rest(pattern: &[char], name: &[char]) -> bool {
    // Where the last star was, and where it ends so far: another star never needs an earlier one to be looked at again.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match (pattern.get(p), one(&pattern[p..], name[n])) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(_), Some(length)) => (p, n) = (p + length, n + 1),
            _ => match star {
                Some((at, end)) => {
                    (p, n) = (at + 1, end + 1);
                    star = Some((at, end + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Characters of the pattern that match this one, if they do.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', class @ ..] => {
            let end = class.iter().skip(1).position(|c| *c == ']')? + 1;
            let (is_negated, members) = match class[..end].split_first() {
                Some(('^', members)) => (true, members),
                _ => (false, &class[..end]),
            };
            let (mut at, mut is_in) = (0, false);
            while at < members.len() {
                match members[at..] {
                    [low, '-', high, ..] => {
                        is_in |= (low..=high).contains(&c);
                        at += 3;
                    }
                    _ => {
                        is_in |= members[at] == c;
                        at += 1;
                    }
                }
            }
            (is_in != is_negated).then_some(end + 2)
        }
        [plain, ..] => (*plain == c).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name, is_so) in [
            ("*.py", "app.py", true),
            ("*.py", "app.pyc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[abc", "a", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), is_so, "{pattern} {name}");
        }
        assert!(matches_path("src/*.py", "src/a.py"));
        assert!(!matches_path("*", "src/a.py"));
    }
}
