//! Pictures of our own, as BMP: the one image format that takes a dozen lines to write.

/// A square picture from each pixel's red, green and blue.
pub fn bmp(side: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    const HEADER: u32 = 54;
    // Rows are padded to four bytes.
    let row = (3 * side).next_multiple_of(4);
    let pixels = row * side;
    let mut bmp = b"BM".to_vec();
    for field in [
        HEADER + pixels,
        0,
        HEADER,
        40,
        side,
        side,
        1 | 24 << 16,
        0,
        pixels,
        0,
        0,
        0,
        0,
    ] {
        bmp.extend_from_slice(&field.to_le_bytes());
    }
    // From the bottom row up, blue first.
    for y in (0..side).rev() {
        for x in 0..side {
            let [red, green, blue] = pixel(x, y);
            bmp.extend_from_slice(&[blue, green, red]);
        }
        let end = (HEADER + row * (side - y)) as usize;
        bmp.resize(end, 0);
    }
    bmp
}
