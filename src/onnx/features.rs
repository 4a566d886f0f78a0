//! The names of a matrix's columns, which ONNX has no field for: exporters write them into the model's metadata.

use std::collections::HashSet;
use std::str::Chars;

/// The key they are under.
pub(super) const KEY: &str = "feature_names";

/// Reads a JSON array of strings, or names separated by commas; `None` if it is neither, or names one twice.
///
/// Metadata is the exporter's own business, so what cannot be read is no reason to refuse the model.
pub(super) fn parse(text: &str) -> Option<Vec<String>> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let names = if let Some(items) = text.strip_prefix('[') {
        json_strings(items)?
    } else {
        text.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let mut seen = HashSet::with_capacity(names.len());
    let are_usable = names.iter().all(|name| !name.is_empty() && seen.insert(name));
    (are_usable && !names.is_empty()).then_some(names)
}

/// The strings of a JSON array whose bracket has been read; nothing may follow it.
fn json_strings(text: &str) -> Option<Vec<String>> {
    let (mut chars, mut names) = (text.chars(), Vec::new());
    if next_token(&mut chars)? != ']' {
        chars = text.chars();
        loop {
            if next_token(&mut chars)? != '"' {
                return None;
            }
            names.push(json_string(&mut chars)?);
            match next_token(&mut chars)? {
                ',' => {}
                ']' => break,
                _ => return None,
            }
        }
    }
    chars.next().is_none().then_some(names)
}

fn next_token(chars: &mut Chars<'_>) -> Option<char> {
    chars.find(|character| !matches!(character, ' ' | '\t' | '\r' | '\n'))
}

/// A string whose opening quote has been read.
fn json_string(chars: &mut Chars<'_>) -> Option<String> {
    let mut name = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(name),
            '\\' => name.push(match chars.next()? {
                same @ ('"' | '\\' | '/') => same,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => escaped(chars)?,
                _ => return None,
            }),
            control if control < ' ' => return None,
            plain => name.push(plain),
        }
    }
}

/// The character of `\uXXXX`, or of two of them where it takes a surrogate pair.
fn escaped(chars: &mut Chars<'_>) -> Option<char> {
    let unit = |chars: &mut Chars<'_>| -> Option<u16> {
        let digits = chars.as_str().get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        chars.nth(3);
        Some(unit)
    };
    let first = unit(chars)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first.into());
    }
    if chars.next()? != '\\' || chars.next()? != 'u' {
        return None;
    }
    char::decode_utf16([first, unit(chars)?]).next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_or_ignored() {
        let cases: [(&str, Option<&[&str]>); 26] = [
            (r#"["a", "b"]"#, Some(&["a", "b"])),
            (" [\n\"a\"\t,\"b\" ] ", Some(&["a", "b"])),
            (r#"["größe", "a, b", "[0]"]"#, Some(&["größe", "a, b", "[0]"])),
            (r#"["a\"b\\c\/d\n", "\u00e9\uD83D\uDE42"]"#, Some(&["a\"b\\c/d\n", "é🙂"])),
            ("a,b", Some(&["a", "b"])),
            (" a , b c ", Some(&["a", "b c"])),
            ("a", Some(&["a"])),
            ("", None),
            ("[]", None),
            ("[", None),
            (r#"["a""#, None),
            (r#"["a",]"#, None),
            (r#"["a" "b"]"#, None),
            (r#"["a"] x"#, None),
            (r#"["a"]]"#, None),
            (r#"["a", 1]"#, None),
            (r#"[["a"]]"#, None),
            (r"['a']", None),
            (r#"["a", "a"]"#, None),
            (r#"["a", ""]"#, None),
            ("a,,b", None),
            ("a,a", None),
            (r#"["\ud83d"]"#, None),
            (r#"["\ude42\ud83d"]"#, None),
            (r#"["\u12g4"]"#, None),
            ("[\"a\nb\"]", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("[\"\\u+123\"]"), None);
        assert_eq!(parse("[\"\\u00é\"]"), None);
    }
}
