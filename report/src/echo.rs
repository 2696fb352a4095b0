//! What a client sent, given back to it: never as long as it likes, never what a terminal or a log would obey.

use std::borrow::Cow;

/// Characters that are given back of anything a client sent.
pub const ECHO: usize = 100;

/// For a sentence: at most `ECHO` characters, the last of them an ellipsis where something is left out. Quotes,
/// backslashes, and whatever is not printable, are escaped.
///
/// Every name, value, key, type, path or method of a client's goes through this before it stands in a sentence or in
/// the log.
pub fn echo(text: &str) -> String {
    let mut told = String::new();
    let (mut count, mut kept) = (0, 0);
    for character in text.chars() {
        let before = told.len();
        match character {
            '\'' => told.push('\''),
            // Sentences quote with these.
            '`' => told.push_str("\\`"),
            other => told.extend(other.escape_debug()),
        }
        count += told[before..].chars().count();
        if count < ECHO {
            kept = told.len();
        } else if count > ECHO {
            told.truncate(kept);
            told.push('…');
            break;
        }
    }
    told
}

/// The same of bytes, which are most often text.
pub fn echo_bytes(bytes: &[u8]) -> String {
    // So many hold more than `ECHO` characters, whatever they are.
    let some = bytes.get(..4 * (ECHO + 1)).unwrap_or(bytes);
    echo(&String::from_utf8_lossy(some))
}

/// For a field of an answer, where JSON does the escaping: at most `ECHO` characters, as above.
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().nth(ECHO).is_none() {
        return text.into();
    }
    text.chars()
        .take(ECHO - 1)
        .chain(['…'])
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_and_printable_stays() {
        for text in ["", "image/tiff", "größe", "it's", "猫.jpg", "\u{1f431}"] {
            assert_eq!(echo(text), text);
            assert_eq!(echo_bytes(text.as_bytes()), text);
            assert_eq!(cut(text), text);
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        for character in ["k", "ö", "\u{1f431}", "\0", "\"", "\u{202e}"] {
            for length in [1, 7, 99, 100, 101, 1000, 100_000] {
                let text = character.repeat(length);
                for told in [echo(&text), echo_bytes(text.as_bytes()), cut(&text).into()] {
                    assert!(told.chars().count() <= ECHO, "{character:?} {length}");
                }
                assert_eq!(cut(&text) == text, length <= ECHO);
            }
        }
        assert_eq!(echo(&"k".repeat(100)), "k".repeat(100));
        assert_eq!(echo(&"k".repeat(101)), "k".repeat(99) + "…");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(
            echo("a\n\r\t\0\x1b[2J\x7f\u{9b}\u{202e}`\"\\"),
            "a\\n\\r\\t\\0\\u{1b}[2J\\u{7f}\\u{9b}\\u{202e}\\`\\\"\\\\"
        );
        assert_eq!(echo_bytes(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
