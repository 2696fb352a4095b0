//! JSON from clients, and what is said of JSON that is not understood: a sentence's end of bounded length, in our own words.

use pinhole_report::{ECHO, cut, echo};
use serde::Deserialize;
use serde_json::error::Category;
use std::fmt::{self, Write};

/// Some editors and libraries write it before JSON, where RFC 8259 allows to pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads JSON. The error ends a sentence.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| reason(&error))
}

/// What is wrong, and where: the end of a sentence, without its full stop. At most one of the client's own words is in it,
/// as `echo` lets it.
pub fn reason(error: &serde_json::Error) -> String {
    let place = match (error.line(), error.column()) {
        (0, _) => String::new(),
        (line, column) => format!(" at line {line}, column {column}"),
    };
    match error.classify() {
        Category::Eof => "it is no JSON: it breaks off".into(),
        Category::Syntax | Category::Io => format!("it is no JSON{place}"),
        Category::Data => {
            let message = Ends::of(error);
            let end = format!(" at line {} column {}", error.line(), error.column());
            in_our_words(message.strip_suffix(&end).unwrap_or(&message)) + &place
        }
    }
}

/// A message's beginning and end, which are serde's own; between them is as much of the client's as it liked.
#[derive(Default)]
struct Ends {
    begin: String,
    end: String,
}

impl Ends {
    /// Characters that are kept of each, at least.
    const KEPT: usize = 1000;

    fn of(error: &serde_json::Error) -> String {
        let mut ends = Self::default();
        write!(ends, "{error}").expect("writing to a string cannot fail");
        ends.begin + &ends.end
    }
}

impl fmt::Write for Ends {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = match self.end.is_empty() {
            true => Self::KEPT.saturating_sub(self.begin.len()),
            false => 0,
        };
        let (begin, rest) = text.split_at(text.floor_char_boundary(room));
        self.begin += begin;
        let needless = rest.len().saturating_sub(Self::KEPT);
        self.end += &rest[rest.floor_char_boundary(needless)..];
        let needless = self.end.len().saturating_sub(2 * Self::KEPT);
        self.end.drain(..self.end.floor_char_boundary(needless));
        Ok(())
    }
}

/// Serde's messages of data that have another shape than wanted. Those of our own are passed on.
fn in_our_words(message: &str) -> String {
    let quoted = |kind: &str| {
        let (name, _) = message.strip_prefix(kind)?.rsplit_once("`, expected ")?;
        name.strip_prefix('`')
    };
    let field = |kind: &str| {
        message
            .strip_prefix(kind)?
            .strip_prefix('`')?
            .strip_suffix('`')
    };
    if let Some(name) = quoted("unknown field ") {
        let known = message
            .rsplit_once("expected ")
            .map_or("", |(_, known)| known);
        format!(
            "the field `{}` is unknown, known is {}",
            echo(name),
            known.trim_start_matches("one of ")
        )
    } else if let Some(name) = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.strip_suffix("`, there are no fields"))
    {
        format!("the field `{}` is unknown", echo(name))
    } else if let Some(name) = field("missing field ") {
        format!("the field `{name}` is missing")
    } else if let Some(name) = field("duplicate field ") {
        format!("the field `{name}` is there twice")
    } else if let Some((found, wanted)) = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|kind| message.strip_prefix(kind)?.rsplit_once(", expected "))
    {
        format!("{} stands where {} belongs", what(found), noun(wanted))
    } else {
        // Our own, which have been through `echo`. Should one come that has not, it is cut all the same.
        match message.char_indices().nth(400) {
            Some(_) => echo(message),
            None => message.into(),
        }
    }
}

/// What was found, from serde's `string "x"`, ``integer `7` `` or `map`.
fn what(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string ") {
        // It is escaped already, but for our own quotes.
        let text = text.strip_prefix('"').unwrap_or(text);
        let text = text.strip_suffix('"').unwrap_or(text);
        let some: String = text.chars().take(ECHO + 1).collect();
        return format!("the text `{}`", cut(&some.replace('`', "\\`")));
    }
    if let Some((_, value)) = found.split_once('`') {
        return format!("`{}`", echo(value.trim_end_matches('`')));
    }
    match found {
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        "null" => "null".into(),
        other => echo(other),
    }
}

/// What was wanted, from serde's names for Rust's types.
fn noun(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "a string" | "a borrowed string" | "a character" => "a text",
        "a boolean" => "true or false",
        ours if ours.starts_with("struct ") => "an object",
        ours => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "a shape, only read")]
    struct Shape {
        name: String,
        #[serde(default)]
        many: Vec<u32>,
        part: Option<f32>,
        yes: Option<bool>,
    }

    fn wrong(json: &str) -> String {
        read::<Shape>(json.as_bytes()).err().unwrap()
    }

    #[test]
    fn what_is_wrong_is_said_in_our_words() {
        for (json, says) in [
            ("", "it is no JSON: it breaks off"),
            ("{\"name\": \"a", "it is no JSON: it breaks off"),
            ("{\"name\" 1}", "it is no JSON at line 1, column 9"),
            ("{\"name\": \"a\"} x", "it is no JSON at line 1, column 15"),
            (
                "7",
                "`7` stands where an object belongs at line 1, column 1",
            ),
            ("{}", "the field `name` is missing at line 1, column 2"),
            (
                "{\"name\": \"a\",\n\"name\": \"b\"}",
                "the field `name` is there twice at line 2, column 6",
            ),
            (
                "{\"a`b\\n\": 1}",
                "the field `a\\`b\\n` is unknown, known is `name`, `many`, `part`, `yes` at line 1, column 8",
            ),
            (
                "{\"name\": [1]}",
                "a list stands where a text belongs at line 1, column 9",
            ),
            (
                "{\"many\": [\"x, expected y\"]}",
                "the text `x, expected y` stands where a whole number from 0 belongs at line 1, column 25",
            ),
            (
                "{\"many\": {}}",
                "an object stands where a list belongs at line 1, column 9",
            ),
            (
                "{\"many\": [-1]}",
                "`-1` stands where a whole number from 0 belongs at line 1, column 12",
            ),
            (
                "{\"part\": \"1\"}",
                "the text `1` stands where a number belongs at line 1, column 12",
            ),
            (
                "{\"part\": \"\\u001b`\\\"\"}",
                "the text `\\u{1b}\\`\\\"` stands where a number belongs at line 1, column 20",
            ),
            (
                "{\"yes\": 1.5}",
                "`1.5` stands where true or false belongs at line 1, column 11",
            ),
        ] {
            assert_eq!(wrong(json), says, "{json}");
        }
    }

    #[test]
    fn nothing_of_a_client_is_repeated_without_a_bound() {
        for long in [
            "k".repeat(1_000_000),
            "\\u0000".repeat(100_000),
            "`, expected ".repeat(50_000),
        ] {
            for json in [
                format!("{{\"{long}\": 1}}"),
                format!("{{\"many\": \"{long}\"}}"),
                format!("{{\"many\": [\"{long}\"]}}"),
                format!("\"{long}\""),
                format!("{{\"name\": \"{long}\", \"name\": \"{long}\"}}"),
            ] {
                let reason = wrong(&json);
                assert!(reason.chars().count() < 300, "{}", reason.len());
            }
        }
        assert!(wrong(&"[".repeat(100_000)).len() < 100);
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let shape: Shape = read(b"\xef\xbb\xbf {\"name\": \"a\"}").unwrap();
        assert_eq!(shape.name, "a");
        assert!(read::<Shape>(b"\xef\xbb\xbf\xef\xbb\xbf{\"name\": \"a\"}").is_err());
    }
}
