use proc_macro2::{Delimiter, LexError, Spacing, TokenStream, TokenTree};

/// A name in Rust source: a path with all its segments, as used or as imported. The name of a macro
/// that is called ends in `!`. Comments and strings hold no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Inside an item marked `#[cfg(test)]`.
    pub(super) test: bool,
}

impl Name {
    /// Returns true if one of the segments is `word`.
    pub(super) fn has(&self, word: &str) -> bool {
        self.path.iter().any(|segment| segment == word)
    }

    /// Returns true if the path starts with `start`, such as `std::fs`.
    pub(super) fn starts(&self, start: &str) -> bool {
        let start: Vec<_> = start.split("::").collect();
        self.path.len() >= start.len() && self.path.iter().zip(start).all(|(a, b)| a == b)
    }
}

/// Returns the names in Rust source.
pub(super) fn names(text: &str) -> Result<Vec<Name>, LexError> {
    let mut names = Vec::new();
    walk(text.parse()?, false, &mut names);
    Ok(names)
}

/// Returns the string literals in Rust source, with their lines.
pub(super) fn strings(text: &str) -> Result<Vec<(String, usize)>, LexError> {
    let mut strings = Vec::new();
    collect_strings(text.parse()?, &mut strings);
    Ok(strings)
}

fn collect_strings(tokens: TokenStream, strings: &mut Vec<(String, usize)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_strings(group.stream(), strings),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                    strings.push((inner.to_owned(), literal.span().start().line));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn walk(tokens: TokenStream, test: bool, names: &mut Vec<Name>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut rest = &tokens[..];
    // True from `#[cfg(test)]` to the end of the item under it.
    let mut marked = false;
    while let Some((token, after)) = rest.split_first() {
        rest = match token {
            TokenTree::Group(group) => {
                marked |= group.delimiter() == Delimiter::Bracket && is_test_mark(&group.stream());
                walk(group.stream(), test || marked, names);
                marked &= group.delimiter() != Delimiter::Brace;
                after
            }
            TokenTree::Punct(punct) => {
                marked &= punct.as_char() != ';';
                after
            }
            TokenTree::Ident(word) if word == "use" && !is_punct(after.first(), '<') => {
                let end = after.iter().position(|token| is_punct(Some(token), ';')).unwrap_or(after.len());
                import(&after[..end], &[], test || marked, names);
                &after[end..]
            }
            TokenTree::Ident(_) => path(rest, test || marked, names),
            TokenTree::Literal(_) => after,
        };
    }
}

fn is_test_mark(attribute: &TokenStream) -> bool {
    attribute.to_string().split_whitespace().collect::<String>() == "cfg(test)"
}

fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

/// Takes the segments at the start; returns them, the line of the first, and what follows.
fn segments(tokens: &[TokenTree]) -> (Vec<String>, usize, &[TokenTree]) {
    let line = tokens.first().map_or(0, |token| token.span().start().line);
    let (mut segments, mut rest) = (Vec::new(), tokens);
    loop {
        if let [TokenTree::Punct(a), TokenTree::Punct(b), after @ ..] = rest
            && (a.as_char(), b.as_char()) == (':', ':')
            && matches!(after.first(), Some(TokenTree::Ident(_)))
        {
            rest = after;
        } else if !segments.is_empty() {
            return (segments, line, rest);
        }
        let [TokenTree::Ident(word), after @ ..] = rest else { return (segments, line, rest) };
        segments.push(word.to_string());
        rest = after;
    }
}

fn path<'a>(tokens: &'a [TokenTree], test: bool, names: &mut Vec<Name>) -> &'a [TokenTree] {
    let (mut path, line, rest) = segments(tokens);
    let calls = matches!(rest.first(), Some(TokenTree::Punct(p)) if p.as_char() == '!' && p.spacing() == Spacing::Alone);
    if let Some(last) = path.last_mut().filter(|_| calls) {
        last.push('!');
    }
    names.push(Name { path, line, test });
    rest
}

/// Takes the tree of a `use` apart, so that `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn import(tokens: &[TokenTree], prefix: &[String], test: bool, names: &mut Vec<Name>) {
    for tree in tokens.split(|token| is_punct(Some(token), ',')) {
        let (own, line, mut rest) = segments(tree);
        let path = [prefix, &own].concat();
        while let [TokenTree::Punct(_), after @ ..] = rest {
            rest = after;
        }
        if let [TokenTree::Group(group), ..] = rest {
            import(&group.stream().into_iter().collect::<Vec<_>>(), &path, test, names);
        } else if !path.is_empty() {
            names.push(Name { path, line, test });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        names(text).unwrap().into_iter().map(|name| name.path.join("::")).collect()
    }

    #[test]
    fn imports_are_taken_apart() {
        let text = "pub use std::{fs, io::{self, Read as _}, time::*};\nuse ::aya::maps;";
        assert_eq!(
            found(text),
            ["pub", "std::fs", "std::io::self", "std::io::Read", "std::time", "aya::maps"]
        );
    }

    #[test]
    fn comments_and_strings_hold_no_names() {
        assert_eq!(
            found("/// aya\n// aya\nconst A: &str = \"aya\"; /* aya */"),
            ["doc", "const", "A", "str"]
        );
    }

    #[test]
    fn calls_of_macros_are_marked() {
        assert_eq!(found("log::info!(x); if info != y {}"), ["log::info!", "x", "if", "info", "y"]);
    }

    #[test]
    fn lines_and_test_items_are_known() {
        let names =
            names("a();\n#[cfg(test)]\nmod tests {\n    b();\n}\nc();\n#[cfg(test)]\nuse d;\ne();").unwrap();
        let of =
            |word: &str| names.iter().find(|name| name.has(word)).map(|name| (name.line, name.test)).unwrap();
        assert_eq!(
            [of("a"), of("b"), of("c"), of("d"), of("e")],
            [(1, false), (4, true), (6, false), (8, true), (9, false)]
        );
    }

    #[test]
    fn captures_are_not_imports() {
        assert_eq!(found("fn f() -> impl A + use<'_> { aya::g() }").last().unwrap(), "aya::g");
    }

    #[test]
    fn paths_start_where_they_start() {
        let name = Name { path: ["std", "fs", "read"].map(str::to_owned).to_vec(), line: 1, test: false };
        assert!(name.starts("std::fs") && name.starts("std") && name.has("read"));
        assert!(!name.starts("fs") && !name.starts("std::fs::read::x"));
    }
}
