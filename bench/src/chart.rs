//! Bar charts as SVG: groups of bars, with a whisker from the smallest to the largest round.
//!
//! The paper is transparent, and every colour stands out from white as well as from a dark page, so one file serves both.

use crate::stats::Spread;
use std::fmt::Write as _;

/// Groups of bars.
pub struct Chart<'a> {
    /// What is shown, with its unit.
    pub title: &'a str,
    /// Which way is good.
    pub note: &'a str,
    /// A name for each group.
    pub groups: Vec<String>,
    /// One bar a group for each.
    pub series: Vec<Series<'a>>,
}

/// The bars of one colour.
pub struct Series<'a> {
    /// For the legend.
    pub name: &'a str,
    /// A value a group.
    pub values: Vec<Spread>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 36.0;

const TEXT: &str = "#787878";
const GRID: &str = "#8a8a8a";
/// One a series; the pairs also differ in lightness for who sees no hue.
const COLOURS: [&str; 6] = [
    "#c2701c", "#2f81d6", "#1f9a8a", "#d1495b", "#7a8a1f", "#9a6fb8",
];

impl Chart<'_> {
    /// The whole file.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg)
            .expect("writing to a string cannot fail");
        svg
    }

    fn write(&self, svg: &mut String) -> std::fmt::Result {
        let title = escape(self.title);
        writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">"#
        )?;
        writeln!(svg, "<title>{title}</title>")?;
        writeln!(
            svg,
            r#"<text x="{LEFT}" y="24" font-size="16" font-weight="600">{title}</text>"#
        )?;
        writeln!(
            svg,
            r#"<text x="{LEFT}" y="44">{}</text>"#,
            escape(self.note)
        )?;
        self.legend(svg)?;
        let largest = self
            .series
            .iter()
            .flat_map(|series| &series.values)
            .map(|value| value.max)
            .fold(0.0, f64::max);
        let step = step(largest);
        let ceiling = step * (largest / step).ceil().max(1.0);
        self.grid(svg, step, ceiling)?;
        self.bars(svg, ceiling)?;
        writeln!(svg, "</svg>")
    }

    fn legend(&self, svg: &mut String) -> std::fmt::Result {
        let (mut x, mut y) = (LEFT, 55.0);
        for (series, colour) in self.series.iter().zip(COLOURS) {
            // There are no font metrics here; this is a little more than a letter's mean width.
            let width = 34.0 + 6.6 * series.name.chars().count() as f64;
            if x + width > WIDTH {
                (x, y) = (LEFT, y + 17.0);
            }
            writeln!(
                svg,
                r#"<rect x="{x:.1}" y="{y:.1}" width="11" height="11" rx="2" fill="{colour}"/><text x="{:.1}" y="{:.1}">{}</text>"#,
                x + 16.0,
                y + 10.0,
                escape(series.name)
            )?;
            x += width;
        }
        Ok(())
    }

    fn grid(&self, svg: &mut String, step: f64, ceiling: f64) -> std::fmt::Result {
        let mut value = 0.0;
        while value <= ceiling * 1.000_001 {
            let y = y(value, ceiling);
            writeln!(
                svg,
                r#"<line x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}" stroke="{GRID}" stroke-opacity="0.35"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                short(value)
            )?;
            value += step;
        }
        Ok(())
    }

    fn bars(&self, svg: &mut String, ceiling: f64) -> std::fmt::Result {
        let group_width = (WIDTH - LEFT - RIGHT) / self.groups.len().max(1) as f64;
        let slot = (group_width * 0.84 / self.series.len().max(1) as f64).min(72.0);
        let floor = y(0.0, ceiling);
        for (index, group) in self.groups.iter().enumerate() {
            let middle = LEFT + group_width * (index as f64 + 0.5);
            let first = middle - slot * self.series.len() as f64 / 2.0;
            for (position, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
                let Some(value) = series.values.get(index) else {
                    continue;
                };
                let (x, top) = (first + slot * position as f64, y(value.median, ceiling));
                let centre = x + slot / 2.0;
                let (high, low) = (y(value.max, ceiling), y(value.min, ceiling));
                writeln!(
                    svg,
                    r#"<rect x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="2" fill="{colour}"/>"#,
                    x + slot * 0.07,
                    slot * 0.86,
                    floor - top
                )?;
                if value.max > value.min {
                    // Dark on light, to be seen on the bar as well as above it.
                    for (colour, width) in [("#ffffff", 3.5), ("#000000", 1.5)] {
                        writeln!(
                            svg,
                            r#"<line x1="{centre:.1}" x2="{centre:.1}" y1="{high:.1}" y2="{low:.1}" stroke="{colour}" stroke-width="{width}"/>"#
                        )?;
                    }
                }
                writeln!(
                    svg,
                    r#"<text x="{centre:.1}" y="{:.1}" text-anchor="middle" font-size="11">{}</text>"#,
                    high.min(top) - 5.0,
                    short(value.median)
                )?;
            }
            writeln!(
                svg,
                r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                floor + 20.0,
                escape(group)
            )?;
        }
        Ok(())
    }
}

/// Where a value is.
fn y(value: f64, ceiling: f64) -> f64 {
    HEIGHT - BOTTOM - value / ceiling * (HEIGHT - TOP - BOTTOM)
}

/// A round distance between lines, for about five of them.
fn step(largest: f64) -> f64 {
    if largest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((largest / 5.0).log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
    rounds
        .into_iter()
        .find(|step| largest / step <= 5.0)
        .unwrap_or(power * 10.0)
}

/// Three digits that count, or the whole number.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    // On an axis, 25.0 is 25.
    match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.into(),
        _ => text,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> String {
        Chart {
            title: "a < b & c",
            note: "n",
            groups: vec!["1".into(), "2".into()],
            series: vec![Series {
                name: "s",
                values: values.iter().map(|value| Spread::single(*value)).collect(),
            }],
        }
        .svg()
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let svg = chart(&[50.0, 100.0]);
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect") && !line.contains("<text"))
            .map(|line| {
                let (_, rest) = line.split_once(" height=\"").unwrap();
                rest.split_once('"').unwrap().0.parse().unwrap()
            })
            .collect();
        assert_eq!(heights, [106.0, 212.0]);
    }

    #[test]
    fn a_chart_is_well_formed() {
        for values in [&[0.0, 0.0][..], &[1.0], &[0.004, 12345.0]] {
            let svg = chart(values);
            assert!(svg.contains("a &lt; b &amp; c"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        }
    }

    #[test]
    fn axes_have_few_round_lines() {
        assert_eq!(step(100.0), 20.0);
        assert_eq!(step(7.3), 2.0);
        assert_eq!(step(0.21), 0.05);
        assert_eq!(step(0.0), 1.0);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1234.5, 56.78, 25.0, 1.5, 0.0, 0.0712].map(short),
            ["1234", "56.8", "25", "1.50", "0", "0.071"]
        );
    }

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |from: usize| {
            let value = u8::from_str_radix(&colour[from..from + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn colours_stand_out_from_light_and_dark() {
        for (colour, least) in COLOURS
            .map(|colour| (colour, 3.0))
            .into_iter()
            .chain([(TEXT, 4.2)])
        {
            for paper in ["#ffffff", "#0d1117"] {
                let (a, b) = (luminance(colour), luminance(paper));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= least, "{colour} on {paper}: {contrast:.2}");
            }
        }
    }
}
