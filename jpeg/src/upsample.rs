//! Planes of fewer samples to the picture's size, as libjpeg does: halved ones by a triangle filter, others by repetition.

/// How a component's rows are enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enlarge {
    /// Not at all.
    Same,
    /// Twice across, filtered.
    Across,
    /// Twice down, filtered.
    Down,
    /// Twice both ways, filtered.
    Both,
    /// So many times each way, repeated.
    Repeat(usize, usize),
}

impl Enlarge {
    /// By these factors. Rows of two samples or fewer, and means of blocks, are not filtered.
    pub fn new(across: usize, down: usize, is_wide: bool, filters: bool) -> Self {
        match (across, down) {
            (1, 1) => Self::Same,
            (2, 1) if filters && is_wide => Self::Across,
            (1, 2) if filters => Self::Down,
            (2, 2) if filters && is_wide => Self::Both,
            _ => Self::Repeat(across, down),
        }
    }

    /// How many rows become of one.
    pub fn down(self) -> usize {
        match self {
            Self::Same | Self::Across => 1,
            Self::Down | Self::Both => 2,
            Self::Repeat(_, down) => down,
        }
    }

    /// Whether a row is made of its neighbour, too.
    pub fn mixes_rows(self) -> bool {
        matches!(self, Self::Down | Self::Both)
    }

    /// Enlarges a row. `near` is the row that it is part of, `far` the neighbour on the side that it lies on, which `is_below` or
    /// above; `sums` is room for one more row.
    pub fn row(
        self,
        near: &[u8],
        far: &[u8],
        is_below: bool,
        sums: &mut Vec<u16>,
        to: &mut Vec<u8>,
    ) {
        to.clear();
        match self {
            Self::Same => to.extend_from_slice(near),
            Self::Across => across(near, to),
            Self::Down => {
                let bias = if is_below { 2 } else { 1 };
                let pairs = near.iter().zip(far);
                to.extend(pairs.map(|(&near, &far)| {
                    ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8
                }));
            }
            Self::Both => {
                sums.clear();
                let pairs = near.iter().zip(far);
                sums.extend(pairs.map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)));
                both(sums, to);
            }
            Self::Repeat(times, _) => {
                for &sample in near {
                    to.resize(to.len() + times, sample);
                }
            }
        }
    }
}

/// Each sample becomes two, each three parts its own and one of its neighbour's; at the ends its own. Rounding takes turns.
fn across(row: &[u8], to: &mut Vec<u8>) {
    let &[first, .., last] = row else { return };
    to.resize(row.len() * 2, 0);
    let pairs = to.as_chunks_mut::<2>().0;
    let three = |sample: u8| 3 * u16::from(sample);
    for (pair, around) in pairs[1..].iter_mut().zip(row.windows(3)) {
        let own = three(around[1]);
        *pair = [
            ((own + u16::from(around[0]) + 1) >> 2) as u8,
            ((own + u16::from(around[2]) + 2) >> 2) as u8,
        ];
    }
    let end = row.len() - 1;
    pairs[0] = [first, ((three(first) + u16::from(row[1]) + 2) >> 2) as u8];
    pairs[end] = [
        ((three(last) + u16::from(row[end - 1]) + 1) >> 2) as u8,
        last,
    ];
}

/// The same of sums of four.
fn both(sums: &[u16], to: &mut Vec<u8>) {
    let &[first, .., last] = sums else { return };
    to.resize(sums.len() * 2, 0);
    let pairs = to.as_chunks_mut::<2>().0;
    for (pair, around) in pairs[1..].iter_mut().zip(sums.windows(3)) {
        let own = 3 * around[1];
        *pair = [
            ((own + around[0] + 8) >> 4) as u8,
            ((own + around[2] + 7) >> 4) as u8,
        ];
    }
    let end = sums.len() - 1;
    pairs[0] = [
        ((4 * first + 8) >> 4) as u8,
        ((3 * first + sums[1] + 7) >> 4) as u8,
    ];
    pairs[end] = [
        ((3 * last + sums[end - 1] + 8) >> 4) as u8,
        ((4 * last + 7) >> 4) as u8,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Enlarge, near: &[u8], far: &[u8], is_below: bool) -> Vec<u8> {
        let mut to = Vec::new();
        kind.row(near, far, is_below, &mut Vec::new(), &mut to);
        to
    }

    #[test]
    fn filters_keep_what_is_flat_and_mix_what_is_not() {
        for kind in [
            Enlarge::Across,
            Enlarge::Down,
            Enlarge::Both,
            Enlarge::Repeat(3, 1),
        ] {
            assert!(
                row(kind, &[77; 5], &[77; 5], true)
                    .iter()
                    .all(|&sample| sample == 77)
            );
        }
        assert_eq!(
            row(Enlarge::Across, &[0, 100, 200], &[], true),
            [0, 25, 75, 125, 175, 200]
        );
        assert_eq!(row(Enlarge::Down, &[0, 100], &[100, 0], false), [25, 75]);
        assert_eq!(
            row(Enlarge::Both, &[0, 0, 160], &[0, 0, 160], true),
            [0, 0, 0, 40, 120, 160]
        );
        assert_eq!(row(Enlarge::Repeat(2, 2), &[1, 2], &[], true), [1, 1, 2, 2]);
        assert_eq!(Enlarge::new(2, 2, false, true), Enlarge::Repeat(2, 2));
        assert_eq!(Enlarge::new(2, 2, true, true), Enlarge::Both);
        assert_eq!(Enlarge::new(1, 2, false, true), Enlarge::Down);
        assert_eq!(Enlarge::new(3, 1, true, true), Enlarge::Repeat(3, 1));
    }
}
