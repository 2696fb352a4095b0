//! Header values, by the grammars of RFC 9110 (parameters, lists), RFC 6266 and 7578 (Content-Disposition) and RFC 8187
//! (values in other character sets).

use percent_encoding::percent_decode;
use pinhole_report::echo_bytes;

/// A value with parameters: `form-data; name="image"`, `multipart/form-data; boundary=x`.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    /// What stands before the first `;`, in lower case.
    pub head: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Value {
    /// Reads a value. None where a quote has no end, or a parameter is there twice: it could mean either.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, mut rest) = split(value, |byte| byte == b';');
        let mut parameters: Vec<(String, Vec<u8>)> = Vec::new();
        while !rest.is_empty() {
            let (name, after) = split(&rest[1..], |byte| byte == b';' || byte == b'=');
            if after.first() != Some(&b'=') {
                // A word without a value, or nothing between two semicolons.
                rest = after;
                continue;
            }
            let name = lower(name);
            let text = after[1..].trim_ascii_start();
            let value;
            (value, rest) = match text.strip_prefix(b"\"") {
                Some(quoted) => {
                    let (value, after) = unquote(quoted)?;
                    (value, split(after, |byte| byte == b';').1)
                }
                None => {
                    let (token, after) = split(text, |byte| byte == b';');
                    (token.trim_ascii().to_vec(), after)
                }
            };
            if parameters.iter().any(|(known, _)| *known == name) {
                return None;
            }
            parameters.push((name, value));
        }
        Some(Self {
            head: lower(head),
            parameters,
        })
    }

    /// A parameter's value. Names are told apart without regard to case.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// The same as text: from `name*`, where that is there and understood, or from `name`.
    pub fn text(&self, name: &str) -> Option<String> {
        self.bytes(&format!("{name}*"))
            .and_then(extended)
            .or_else(|| self.bytes(name).map(text))
    }
}

/// What stands before the first byte of this kind, and the rest from it on.
fn split(bytes: &[u8], at: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| at(*byte));
    bytes.split_at(end.unwrap_or(bytes.len()))
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase()
}

/// What a quote holds, and what comes behind it.
fn unquote(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut held = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some((held, after)),
            // Before anything else a backslash is one: browsers leave those of `C:\cat.jpg` as they are.
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                held.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                held.push(*byte);
                rest = after;
            }
        }
    }
}

/// RFC 8187's `UTF-8''na%C3%AFve.jpg`.
fn extended(value: &[u8]) -> Option<String> {
    let (charset, rest) = split(value, |byte| byte == b'\'');
    let (_language, encoded) = split(rest.get(1..)?, |byte| byte == b'\'');
    let bytes: Vec<u8> = percent_decode(encoded.get(1..)?).collect();
    match lower(charset).as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(latin(&bytes)),
        _ => None,
    }
}

/// UTF-8, as nearly everybody sends, or else what HTTP's headers once were.
fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| latin(bytes), Into::into)
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The first coding of a body, if there is one, from all the values of its Content-Encoding. Fit for a sentence.
pub fn coding<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    values
        .into_iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        .map(echo_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disposition(value: &str) -> (Option<String>, Option<String>) {
        let value = Value::parse(value.as_bytes()).unwrap();
        assert_eq!(value.head, "form-data");
        (value.text("name"), value.text("filename"))
    }

    #[test]
    fn parameters_are_parsed_and_not_searched_for() {
        let both = |name: &str, file: &str| (Some(name.into()), Some(file.into()));
        for (value, expected) in [
            (r#"form-data; name="a"; filename="b""#, both("a", "b")),
            (r#"Form-Data; NAME="a"; FileName="b""#, both("a", "b")),
            (
                r#"form-data; filename="name=x; name=y.jpg"; name="a""#,
                both("a", "name=x; name=y.jpg"),
            ),
            (
                "form-data;filename=\" name=\\\"x\\\"\";\tname = a ",
                both("a", " name=\"x\""),
            ),
            (
                r#"form-data; name=a; filename="C:\cats\1.jpg""#,
                both("a", r"C:\cats\1.jpg"),
            ),
            (r#"form-data; name=a; filename="\\\"""#, both("a", r#"\""#)),
            (
                r#"form-data; name="a"; filename=my cat.jpg"#,
                both("a", "my cat.jpg"),
            ),
            (
                r#"form-data; name="a"; filename="b"; filename*=UTF-8''c%20%E2%82%AC.jpg"#,
                both("a", "c €.jpg"),
            ),
            (
                r#"form-data; filename*=iso-8859-1'en'%A3; name=a; filename=b"#,
                both("a", "£"),
            ),
            (
                r#"form-data; name=a; filename*=koi8-r''%A3; filename=b"#,
                both("a", "b"),
            ),
            (
                r#"form-data; name=a; filename*=utf-8''%FF; filename=b"#,
                both("a", "b"),
            ),
            ("form-data; xname=x; name=a; filename=ü", both("a", "ü")),
            (
                "form-data;; ; x; name=\"a\" junk; filename=\"\"",
                both("a", ""),
            ),
            ("form-data; name=", (Some(String::new()), None)),
            ("form-data", (None, None)),
            ("form-data; filename*=b; name", (None, None)),
        ] {
            assert_eq!(disposition(value), expected, "{value}");
        }
        let latin = Value::parse(b"form-data; name=\"\xfc\"").unwrap();
        assert_eq!(latin.text("name").as_deref(), Some("ü"));
    }

    #[test]
    fn what_could_mean_either_is_not_understood() {
        for value in [
            r#"form-data; name="a"#,
            r#"form-data; name="a\""#,
            "form-data; name=a; NAME=b",
            "form-data; name=a; name=a",
        ] {
            assert_eq!(Value::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn identity_is_no_coding() {
        let coding = |values: &[&'static str]| coding(values.iter().map(|value| value.as_bytes()));
        for values in [
            &[][..],
            &[""],
            &["identity"],
            &["Identity"],
            &["\tIDENTITY , identity", ","],
        ] {
            assert_eq!(coding(values), None, "{values:?}");
        }
        assert_eq!(coding(&["identity, GZip"]).as_deref(), Some("GZip"));
        assert_eq!(coding(&["identity", "br"]).as_deref(), Some("br"));
        assert_eq!(coding(&["identityx"]).as_deref(), Some("identityx"));
        let long: &'static str = "x".repeat(15_000).leak();
        assert_eq!(coding(&[long]).unwrap().chars().count(), 100);
    }
}
