//! Planes to colours: which colours a file's components are, and their conversion, with libjpeg's rounding.

use crate::header::{Frame, Marks};

/// What the components of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// One: grey.
    Grey,
    /// Luma and two differences of colour (ITU-T T.871).
    YCbCr,
    /// As they are.
    Rgb,
    /// Inks, inverted, as Adobe's programs write them.
    Cmyk,
    /// The same, the first three of them as luma and differences.
    Ycck,
}

impl Colours {
    /// As segments, or the components' names, tell. JFIF's are YCbCr, whatever Adobe's segment says.
    pub fn of(frame: &Frame, marks: Marks) -> Self {
        let names: Vec<u8> = frame.components.iter().map(|one| one.id).collect();
        match (names.as_slice(), marks) {
            ([_], _) => Self::Grey,
            ([_, _, _], Marks { jfif: true, .. }) => Self::YCbCr,
            ([_, _, _], Marks { adobe: Some(0), .. }) => Self::Rgb,
            ([_, _, _], Marks { adobe: Some(_), .. }) => Self::YCbCr,
            (b"RGB", _) => Self::Rgb,
            ([_, _, _], _) => Self::YCbCr,
            (
                _,
                Marks {
                    adobe: None | Some(0),
                    ..
                },
            ) => Self::Cmyk,
            _ => Self::Ycck,
        }
    }

    /// Converts a row: a plane a component to red, green and blue.
    pub fn convert(self, planes: &[&[u8]], to: &mut [u8]) {
        let to = to.as_chunks_mut::<3>().0;
        match (self, planes) {
            (Self::Grey, [grey]) => {
                for (to, &grey) in to.iter_mut().zip(*grey) {
                    *to = [grey; 3];
                }
            }
            (Self::Rgb, [red, green, blue]) => {
                for (((to, &red), &green), &blue) in to.iter_mut().zip(*red).zip(*green).zip(*blue)
                {
                    *to = [red, green, blue];
                }
            }
            (Self::YCbCr, [luma, blue, red]) => {
                for (((to, &luma), &blue), &red) in to.iter_mut().zip(*luma).zip(*blue).zip(*red) {
                    *to = rgb(luma, blue, red);
                }
            }
            (Self::Cmyk, [cyan, magenta, yellow, black]) => {
                let inks = cyan.iter().zip(*magenta).zip(*yellow).zip(*black);
                for (to, (((&cyan, &magenta), &yellow), &black)) in to.iter_mut().zip(inks) {
                    *to = [cyan, magenta, yellow].map(|ink| under_black(ink, black));
                }
            }
            (Self::Ycck, [luma, blue, red, black]) => {
                let inks = luma.iter().zip(*blue).zip(*red).zip(*black);
                for (to, (((&luma, &blue), &red), &black)) in to.iter_mut().zip(inks) {
                    *to = rgb(luma, blue, red).map(|light| under_black(255 - light, black));
                }
            }
            // A frame has as many planes as its colours ask for.
            _ => {}
        }
    }
}

/// A colour from luma and differences: factors of T.871 in 16-bit fixed point.
#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    [
        luma + ((91_881 * red + HALF) >> 16),
        luma + ((HALF - 22_554 * blue - 46_802 * red) >> 16),
        luma + ((116_130 * blue + HALF) >> 16),
    ]
    .map(|part| part.clamp(0, 255) as u8)
}

/// The light that an ink leaves under black, both inverted, as Pillow has it.
#[inline(always)]
fn under_black(ink: u8, black: u8) -> u8 {
    let (ink, left) = (u32::from(255 - ink), u32::from(black));
    let product = ink * left + 128;
    let taken = ((product >> 8) + product) >> 8;
    left.saturating_sub(taken) as u8
}
