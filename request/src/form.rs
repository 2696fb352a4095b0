//! Forms: `multipart/form-data` by RFC 7578 in a body that is in memory. Nothing is copied; pictures are parts of the body.

use crate::body::{Contents, Upload};
use crate::header::Value;
use crate::{Parameters, Refused, base64, malformed};
use bytes::Bytes;
use memchr::memmem::{self, Finder};
use pinhole_report::echo;

/// Fields that hold pictures, any number of them, in whatever case; the first is what our sentences ask for.
const PICTURES: [&str; 4] = ["image", "images", "image[]", "images[]"];

/// What a field is named by those who never thought of a name. It holds the picture where there is no other file.
const FILE: &str = "file";

/// Bytes of a field's head.
const HEAD: usize = 16 << 10;

/// Fields beside the pictures.
const OTHERS: usize = 100;

/// Names that a sentence lists.
const LISTED: usize = 5;

/// The pictures of a form, at most `limit`, and what it says of them.
pub fn read(body: &Bytes, boundary: &[u8], limit: usize) -> Result<Contents, Refused> {
    let mut found = Found::default();
    for (count, field) in Fields::of(body, boundary)?.enumerate() {
        if count == limit + OTHERS {
            return malformed(format!("The form has more than {} fields.", limit + OTHERS));
        }
        found.add(field?, limit)?;
    }
    found.contents()
}

/// One field.
#[derive(Debug, Default, PartialEq)]
struct Field {
    name: String,
    file: Option<String>,
    value: Bytes,
}

/// What the fields hold, as far as they were looked at.
#[derive(Default)]
struct Found {
    pictures: Vec<Upload>,
    /// The first field named `file`.
    file: Option<Upload>,
    /// Fields that are files, or are named `file`.
    files: usize,
    others: Vec<String>,
    fields: usize,
    parameters: Parameters,
}

impl Found {
    fn add(&mut self, field: Field, limit: usize) -> Result<(), Refused> {
        let Field { name, file, value } = field;
        let is_file = file.is_some();
        // A form in a browser sends fields that nobody filled in.
        if !is_file && ["top_k", "min_probability"].contains(&name.as_str()) {
            let text = String::from_utf8_lossy(value.get(..HEAD).unwrap_or(&value));
            if !text.trim_ascii().is_empty() {
                self.parameters.take(&name, text.trim_ascii())?;
            }
            self.fields += 1;
            return Ok(());
        }
        let upload = Upload {
            name: file,
            image: value,
        };
        let means = |known: &str| name.eq_ignore_ascii_case(known);
        if PICTURES.iter().any(|known| means(known)) {
            if self.pictures.len() == limit {
                return Err(Refused::TooMany);
            }
            self.pictures.push(upload);
            return Ok(());
        }
        self.fields += 1;
        if self.others.len() < LISTED {
            self.others.push(format!("`{}`", echo(&name)));
        }
        // And so it does where no file was picked.
        let is_empty =
            upload.image.is_empty() && upload.name.as_deref().unwrap_or_default().is_empty();
        if (is_file || means(FILE)) && !is_empty {
            self.files += 1;
            if means(FILE) {
                self.file = Some(upload);
            }
        }
        Ok(())
    }

    fn contents(mut self) -> Result<Contents, Refused> {
        let [wanted, ..] = PICTURES;
        if self.pictures.is_empty() {
            match (self.file.take(), self.files) {
                (Some(file), 1) => self.pictures.push(file),
                (Some(_), files) => {
                    return malformed(format!(
                        "The form has {files} files, and which are pictures is not clear: name those `{wanted}`."
                    ));
                }
                (None, _) if self.fields == 0 => {
                    return malformed(format!("The form is empty: it needs a field `{wanted}`."));
                }
                (None, _) => {
                    let more = match self.others.len() {
                        0 => "parameters".into(),
                        listed if listed < self.fields => {
                            format!("{} and more", self.others.join(", "))
                        }
                        _ => self.others.join(", "),
                    };
                    return malformed(format!("The form has no field `{wanted}`, only {more}."));
                }
            }
        }
        Ok(Contents {
            uploads: self.pictures,
            parameters: self.parameters,
        })
    }
}

/// The fields of a form, one after another.
struct Fields<'a> {
    body: &'a Bytes,
    /// `--boundary` behind the end of a line.
    delimiter: Finder<'a>,
    /// Where the next field begins; none where there is no other, or where what follows was not understood.
    start: Option<usize>,
}

/// Where a delimiter was found, and where what follows it begins: a field, or nothing more.
struct Delimiter {
    start: usize,
    next: Option<usize>,
}

const LINE_END: &[u8] = b"\r\n";

impl<'a> Fields<'a> {
    fn of(body: &'a Bytes, boundary: &[u8]) -> Result<Self, Refused> {
        let needle = [LINE_END, b"--", boundary].concat();
        let delimiter = Finder::new(&needle).into_owned();
        let mut fields = Self {
            body,
            delimiter,
            start: None,
        };
        // The first one may stand at the very beginning, where no line has ended.
        let first = body
            .starts_with(&needle[LINE_END.len()..])
            .then(|| fields.behind(needle.len() - LINE_END.len()))
            .flatten();
        let found = match first {
            Some(next) => Delimiter { start: 0, next },
            None => match fields.search(0) {
                Some(found) => found,
                None => {
                    return malformed("The form does not begin: its boundary is not in the body.");
                }
            },
        };
        fields.start = found.next;
        Ok(fields)
    }

    /// The next delimiter from here on.
    fn search(&self, from: usize) -> Option<Delimiter> {
        let mut from = from;
        loop {
            let start = from + self.delimiter.find(self.body.get(from..)?)?;
            let end = start + self.delimiter.needle().len();
            if let Some(next) = self.behind(end) {
                return Some(Delimiter { start, next });
            }
            // A longer line that begins like one.
            from = end;
        }
    }

    /// What follows a delimiter that ends here: the next field's beginning, or none behind the last. None at all where
    /// this is no delimiter.
    fn behind(&self, end: usize) -> Option<Option<usize>> {
        let rest = self.body.get(end..)?;
        if rest.starts_with(b"--") {
            return Some(None);
        }
        let padding = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
        rest[padding..]
            .starts_with(LINE_END)
            .then_some(Some(end + padding + LINE_END.len()))
    }

    fn field(&mut self, start: usize) -> Result<Field, Refused> {
        // The line's end before an empty field may be the one behind the delimiter.
        let Some(end) = self.search(start - LINE_END.len()) else {
            return malformed("The form breaks off: there is no boundary at its end.");
        };
        self.start = end.next;
        let Some(field) = self.body.get(start..end.start) else {
            return Ok(Field::default());
        };
        let blank = [LINE_END, LINE_END].concat();
        let (head, value) = if field.starts_with(LINE_END) {
            (0, LINE_END.len())
        } else {
            let begin = &field[..field.len().min(HEAD + blank.len())];
            match memmem::find(begin, &blank) {
                Some(head) => (head, head + blank.len()),
                None if begin.len() < field.len() => {
                    return malformed(format!(
                        "The head of a field in the form is longer than {HEAD} bytes."
                    ));
                }
                None => {
                    return malformed("A field of the form has no blank line behind its head.");
                }
            }
        };
        let value = self.body.slice(start + value..end.start);
        let mut field = Field {
            value,
            ..named(&field[..head])?
        };
        // Long out of use, and still what mail libraries do.
        if let Some(coding) = line(&self.body[start..start + head], "content-transfer-encoding")
            && coding.trim_ascii().eq_ignore_ascii_case(b"base64")
        {
            field.value =
                base64::decode(&String::from_utf8_lossy(&field.value)).or_else(|reason| {
                    malformed(format!(
                        "The field `{}` cannot be read: {reason}.",
                        echo(&field.name)
                    ))
                })?;
        }
        Ok(field)
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.start.take()?;
        Some(self.field(start))
    }
}

/// A field with the names that its head gives it, and no value.
fn named(head: &[u8]) -> Result<Field, Refused> {
    let Some(value) = line(head, "content-disposition") else {
        return Ok(Field::default());
    };
    let Some(value) = Value::parse(&value) else {
        return malformed(
            "The Content-Disposition of a field in the form is not understood: a quote has no end, or a parameter is there twice.",
        );
    };
    Ok(Field {
        name: named_by(&value, "name").unwrap_or_default(),
        file: named_by(&value, "filename"),
        value: Bytes::new(),
    })
}

/// A name in which browsers, and curl, have escaped what would end it, and nothing else (HTML's `multipart/form-data`).
fn named_by(value: &Value, parameter: &str) -> Option<String> {
    let name = value.text(parameter)?;
    if value.bytes(&format!("{parameter}*")).is_some() || !name.contains('%') {
        return Some(name);
    }
    Some(
        name.replace("%22", "\"")
            .replace("%0D", "\r")
            .replace("%0A", "\n"),
    )
}

/// The first value of a header in a field's head. What goes on in the next line, behind white space, belongs to it.
fn line(head: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut value: Option<Vec<u8>> = None;
    for text in head.split(|byte| *byte == b'\n') {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match &mut value {
            Some(value) if text.starts_with(b" ") || text.starts_with(b"\t") => {
                value.extend_from_slice(text);
            }
            Some(_) => break,
            None => {
                let colon = text.iter().position(|byte| *byte == b':');
                if let Some(colon) = colon
                    && text[..colon]
                        .trim_ascii()
                        .eq_ignore_ascii_case(name.as_bytes())
                {
                    value = Some(text[colon + 1..].to_vec());
                }
            }
        }
    }
    value
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
