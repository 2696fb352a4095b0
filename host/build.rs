//! Takes out of Swagger UI what the service hands to browsers.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "docs")]
    swagger_ui()?;
    Ok(())
}

/// Writes the two files that a page needs, each compressed: browsers get them so, and the program stays small.
#[cfg(feature = "docs")]
fn swagger_ui() -> Result<(), Box<dyn Error>> {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Cursor;
    use std::path::PathBuf;

    let folder = PathBuf::from(std::env::var("OUT_DIR")?);
    let archive = utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
    let mut archive = zip::ZipArchive::new(Cursor::new(archive))?;
    for name in ["swagger-ui.css", "swagger-ui-bundle.js"] {
        let inside = format!("/dist/{name}");
        let index = (0..archive.len())
            .find(|index| {
                let path = archive.name_for_index(*index);
                path.is_some_and(|path| path.is_ok_and(|path| path.ends_with(&inside)))
            })
            .ok_or_else(|| format!("Swagger UI has no {inside} any more"))?;
        let packed = std::fs::File::create(folder.join(format!("{name}.gz")))?;
        let mut packer = GzEncoder::new(packed, Compression::best());
        std::io::copy(&mut archive.by_index(index)?, &mut packer)?;
        packer.finish()?;
    }
    Ok(())
}
