//! Decodes files: prints a line for each, and writes its pixels beside it where `--write` comes first. `--half`, `--quarter` and
//! `--eighth` come before the files.

use pinhole_jpeg::{Decoder, Scale};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let writes = arguments.next_if(|first| first == "--write").is_some();
    let mut scale = Scale::Whole;
    for (name, named) in [
        ("--half", Scale::Half),
        ("--quarter", Scale::Quarter),
        ("--eighth", Scale::Eighth),
    ] {
        if arguments.next_if(|next| next == name).is_some() {
            scale = named;
        }
    }
    for path in arguments {
        let Ok(bytes) = std::fs::read(&path) else {
            println!("{path}: cannot be read");
            continue;
        };
        let start = Instant::now();
        match Decoder::new(&bytes).and_then(|decoder| decoder.scaled(scale).decode()) {
            Ok(picture) => {
                println!(
                    "{path}: {} x {}, {}, {:.2} ms",
                    picture.width,
                    picture.height,
                    if picture.is_complete {
                        "complete"
                    } else {
                        "without its end"
                    },
                    start.elapsed().as_secs_f64() * 1e3
                );
                if writes {
                    let to = format!("{path}.rgb");
                    if let Err(error) = std::fs::write(&to, picture.pixels) {
                        println!("{to}: {error}");
                    }
                }
            }
            Err(error) => println!("{path}: {error}"),
        }
    }
}
