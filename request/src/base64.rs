//! Bytes in base64, as clients really write it.

use ::base64::alphabet::STANDARD;
use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ::base64::{DecodeError, Engine};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use pinhole_report::echo;
use std::borrow::Cow;

/// Takes base64 with its padding and without, and bits behind the last byte, which some encoders leave there.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const SCHEME: &str = "data:";

/// The bytes behind base64: in the usual alphabet or in that for URLs, padded or not, in lines or in one, alone or in a
/// `data:` URL as browsers make them. The error is half a sentence.
pub fn decode(text: &str) -> Result<Bytes, String> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}');
    let text = match text.split_at_checked(SCHEME.len()) {
        Some((scheme, url)) if scheme.eq_ignore_ascii_case(SCHEME) => of_url(url)?,
        _ => Cow::Borrowed(text),
    };
    let plain = plain(&text);
    BASE64
        .decode(plain.as_ref())
        .map(Bytes::from)
        .map_err(|error| match error {
            DecodeError::InvalidByte(_, byte) if byte != b'=' => {
                // The text's own character: bytes beyond ASCII are parts of one.
                let strange = text
                    .chars()
                    .find(|c| !is_of_alphabet(*c) && !c.is_ascii_whitespace())
                    .unwrap_or(char::from(byte));
                format!(
                    "`{}` is no character of base64",
                    echo(strange.encode_utf8(&mut [0; 4]))
                )
            }
            _ => "the base64 does not end where it may".into(),
        })
}

/// The base64 in what follows `data:`.
fn of_url(url: &str) -> Result<Cow<'_, str>, String> {
    let (kind, data) = url
        .split_once(',')
        .ok_or("the data: URL has no comma before its data")?;
    let last = kind.rsplit(';').next().unwrap_or_default().trim();
    if !last.eq_ignore_ascii_case("base64") {
        return Err("the data: URL is not in base64".into());
    }
    if !data.contains('%') {
        return Ok(data.into());
    }
    let decoded = percent_decode_str(data).decode_utf8();
    decoded.map_err(|_| "the data: URL is not in base64".into())
}

/// In one line, in the usual alphabet.
fn plain(text: &str) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| !byte.is_ascii_whitespace() && *byte != b'-' && *byte != b'_';
    if text.bytes().all(|byte| is_plain(&byte)) {
        return text.as_bytes().into();
    }
    let usual = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    text.bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(usual)
        .collect::<Vec<u8>>()
        .into()
}

fn is_of_alphabet(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '-' | '_' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_taken_as_it_is_written() {
        // Python's base64.b64encode and urlsafe_b64encode of these bytes.
        let bytes: &[u8] = b"\xfb\xff\xfe?";
        for text in [
            "+//+Pw==",
            "+//+Pw",
            "-__-Pw==",
            "-__-Pw",
            "+//+Pw==\n",
            "\r\n +//+\r\nPw\r\n==\r\n",
            "+//-Pw",
            "+//+Px==",
            "\u{feff}+//+Pw==",
            "data:image/jpeg;base64,+//+Pw==",
            "DATA:IMAGE/JPEG;Name=a.jpg;charset=utf-8;BASE64,+//+Pw",
            "Data:;base64,-__-Pw",
            "data:;base64,%2B%2F/%2BPw%3D%3d",
            " data:image/png;base64,\n+//+\nPw==\n",
        ] {
            assert_eq!(decode(text).as_deref(), Ok(bytes), "{text:?}");
        }
        assert_eq!(decode("").as_deref(), Ok(&[][..]));
    }

    #[test]
    fn what_is_no_base64_is_said() {
        for (text, says) in [
            ("%%%", "`%` is no character"),
            ("YWI=x", "not end"),
            ("Y", "not end"),
            ("YWJj=", "not end"),
            ("YQ===", "not end"),
            ("caf\u{e9}", "`\u{e9}` is no character"),
            ("YW\u{7}I", "`\\u{7}` is no character"),
            ("data:image/jpeg;base64", "comma"),
            ("data:image/svg+xml,%3Csvg", "not in base64"),
            ("data:,YWI=", "not in base64"),
            ("data:;base64,%FF%FF", "not in base64"),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let long = decode(&"!".repeat(1_000_000)).unwrap_err();
        assert!(long.len() < 200, "{long}");
    }
}
