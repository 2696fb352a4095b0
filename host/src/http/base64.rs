//! Images in JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

/// Takes base64 with its padding and without, as clients send both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes behind base64, which may stand in a `data:` URL as browsers make them. The error is half a sentence.
pub fn decode(text: &str) -> Result<Bytes, String> {
    let text = match text.strip_prefix("data:") {
        Some(url) => url.split_once(',').map_or("", |(_, data)| data),
        None => text,
    };
    BASE64.decode(text).map(Bytes::from).map_err(|error| {
        format!("this is no base64: {error}")
            .trim_end_matches('.')
            .into()
    })
}
