//! Answers on standard output, at once and whole, so that whatever ends the program leaves what was printed.

use crate::cli::Format;
use pinhole_report::{Answer, Outcome, Refusal, json_line, text};
use std::io::{Error, Result, Write};

/// Prints answers in one format.
pub struct Printer {
    format: Format,
    /// A table has a head.
    begun: bool,
}

impl Printer {
    /// Nothing is printed before the first answer.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            begun: false,
        }
    }

    /// Prints what became of a file. As text, what was refused goes to standard error.
    pub fn print(&mut self, name: &str, outcome: &Outcome) -> Result<()> {
        let text = match (self.format, outcome) {
            (Format::Text, Ok(answer)) => text(name, answer).into_bytes(),
            (Format::Text, Err(refusal)) => {
                eprintln!("{name}: {}", refusal.error);
                return Ok(());
            }
            (Format::Json, outcome) => format!("{}\n", json_line(name, outcome)).into_bytes(),
            (Format::Csv, outcome) => {
                let head = !std::mem::replace(&mut self.begun, true);
                rows(head, name, outcome)?
            }
        };
        std::io::stdout().write_all(&text)
    }
}

/// A row for each class, or one for a refusal.
fn rows(head: bool, name: &str, outcome: &Outcome) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    if head {
        table.write_record([
            "file",
            "rank",
            "class_id",
            "label",
            "probability",
            "error",
            "code",
        ])?;
    }
    match outcome {
        Ok(Answer { predictions, .. }) => {
            for (rank, prediction) in (1..).zip(predictions) {
                let (id, probability) = (prediction.class_id, prediction.probability);
                table.serialize((name, rank, id, &prediction.label, probability, "", ""))?;
            }
        }
        Err(Refusal { error, code }) => {
            table.write_record([name, "", "", "", "", error, code])?;
        }
    }
    table
        .into_inner()
        .map_err(|error| Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_report::{Model, Prediction, TimingsMs};

    #[test]
    fn a_table_has_a_head_and_quotes_what_needs_it() {
        let answer = Answer {
            model: Model {
                name: "m".into(),
                version: "1".into(),
            },
            predictions: vec![
                Prediction {
                    class_id: 7,
                    label: "cock, \"rooster\"".into(),
                    probability: 0.75,
                },
                Prediction {
                    class_id: 2,
                    label: "hen".into(),
                    probability: 0.25,
                },
            ],
            complete: true,
            timings_ms: TimingsMs::default(),
        };
        let text = String::from_utf8(rows(true, "a,b.jpg", &Ok(answer)).unwrap()).unwrap();
        assert_eq!(
            text,
            "file,rank,class_id,label,probability,error,code\n\
             \"a,b.jpg\",1,7,\"cock, \"\"rooster\"\"\",0.75,,\n\
             \"a,b.jpg\",2,2,hen,0.25,,\n"
        );
        let refusal = Refusal {
            error: "No.".into(),
            code: "invalid-image".into(),
        };
        let text = String::from_utf8(rows(false, "x", &Err(refusal)).unwrap()).unwrap();
        assert_eq!(text, "x,,,,,No.,invalid-image\n");
    }
}
