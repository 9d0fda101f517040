//! SVG plots.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One line of a plot, or one group of bars.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Where it goes through.
    pub points: Vec<(f64, f64)>,
}

/// An axis.
#[derive(Clone, Copy)]
pub struct Axis {
    /// What it shows, and in which unit.
    pub label: &'static str,
    /// Whether equal steps are equal factors.
    pub logarithmic: bool,
}

impl Axis {
    fn place(self, value: f64) -> f64 {
        if self.logarithmic { value.max(1e-9).log10() } else { value }
    }

    fn write(self, place: f64) -> String {
        let value = if self.logarithmic { 10_f64.powf(place) } else { place };
        match value.abs() {
            size if size >= 1e6 => format!("{:.0}M", value / 1e6),
            size if size >= 1e4 => format!("{:.0}k", value / 1e3),
            size if size >= 10.0 || size == 0.0 => format!("{value:.0}"),
            _ => format!("{value:.2}"),
        }
    }

    /// From the least to the greatest, and a little around it; from 0 if equal steps are equal.
    fn range(self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let places = values.map(|value| self.place(value));
        let (low, high) =
            places.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        if low > high {
            return 0.0..1.0;
        }
        let low = if self.logarithmic { low } else { low.min(0.0) };
        let room = (high - low).max(1e-3) * 0.05;
        (if low == 0.0 { 0.0 } else { low - room })..high + room
    }

    fn along(self, places: Range<f64>) -> Marked {
        Marked { marks: self.marks(&places), places }
    }

    /// Where the axis is marked: at round numbers, at powers of ten and, if these are few, at twice
    /// and five times as much.
    fn marks(self, places: &Range<f64>) -> Vec<f64> {
        let within = |place: &f64| places.contains(place);
        if !self.logarithmic {
            let rough = (places.end - places.start) / 8.0;
            let power = 10_f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
            let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
            let first = (places.start / step).ceil() as i64;
            return (first..).map(|n| n as f64 * step).take_while(within).collect();
        }
        let factors: &[f64] =
            if places.end - places.start > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = places.start.floor() as i32..=places.end.ceil() as i32;
        let marks = powers
            .flat_map(|power| factors.iter().map(move |factor| f64::from(power) + factor.log10()));
        marks.filter(within).collect()
    }
}

/// A range with its marks.
struct Marked {
    places: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.places.start) / (self.places.end - self.places.start);
        first + (f64::from(last - first) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.places.clone()
    }
}

const SIZE: (u32, u32) = (900, 480);
/// Of it, what the names of lines take.
const NAMES: u32 = 260;
const FONT: &str = "sans-serif";

/// A plot of lines.
///
/// # Errors
/// If the file cannot be written.
pub fn lines(
    path: &Path,
    title: &str,
    axes: [Axis; 2],
    series: &[Series],
) -> Result<(), Box<dyn Error>> {
    let [x, y] = axes;
    let points = || series.iter().flat_map(|series| &series.points);
    let xs = x.range(points().map(|point| point.0));
    let ys = y.range(points().map(|point| point.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, names) = area.split_horizontally(SIZE.0 - NAMES);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.along(xs), y.along(ys))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x.label)
        .y_desc(y.label)
        .x_label_formatter(&|place| x.write(*place))
        .y_label_formatter(&|place| y.write(*place))
        .draw()?;
    let style = (FONT, 13).into_font().into_text_style(&area);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    for (index, series) in series.iter().enumerate() {
        // What is measured for itself stands out among the others.
        let width = if series.name.starts_with("Interval") { 4 } else { 2 };
        let stroke = Palette99::pick(index).stroke_width(width);
        let known = series.points.iter().filter(|point| point.1.is_finite());
        let places = known.map(|point| (x.place(point.0), y.place(point.1)));
        chart.draw_series(LineSeries::new(places, stroke))?;
        let at = 44 + 17 * index as i32;
        names.draw(&PathElement::new([(4, at), (24, at)], stroke))?;
        names.draw_text(&series.name, &style, (30, at))?;
    }
    area.present()?;
    Ok(())
}

/// A plot of bars that lie, one for each name, with as many colours as there are series; the
/// points of a series are taken by their second part, in the order of the names.
///
/// # Errors
/// If the file cannot be written.
pub fn bars(
    path: &Path,
    title: &str,
    axis: Axis,
    names: &[String],
    series: &[Series],
) -> Result<(), Box<dyn Error>> {
    let width = axis.range(series.iter().flat_map(|series| &series.points).map(|point| point.1));
    let start = if axis.logarithmic { width.start.min(0.0) } else { 0.0 };
    let height = 90 + 24 * names.len() as u32;
    let area = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let count = names.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(250)
        .build_cartesian_2d(axis.along(start..width.end), 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(WHITE)
        .x_desc(axis.label)
        .x_label_formatter(&|place| axis.write(*place))
        .y_labels(0)
        .draw()?;
    let thickness = 0.8 / series.len().max(1) as f64;
    for (index, series) in series.iter().enumerate() {
        let colour = Palette99::pick(index);
        let bar = |(row, point): (usize, &(f64, f64))| {
            let top = count - row as f64 - 0.1 - thickness * index as f64;
            let corners = [(start, top), (axis.place(point.1), top - thickness)];
            Rectangle::new(corners, colour.filled())
        };
        chart.draw_series(series.points.iter().enumerate().map(bar))?.label(&series.name).legend(
            move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 14, y + 5)], Palette99::pick(index).filled())
            },
        );
    }
    let plotting = chart.plotting_area();
    let anchor = Pos::new(HPos::Right, VPos::Center);
    let style = (FONT, 14).into_font().into_text_style(&area).pos(anchor);
    for (row, name) in names.iter().enumerate() {
        let (x, y) = plotting.map_coordinate(&(start, count - row as f64 - 0.5));
        area.draw_text(name, &style, (x - 6, y))?;
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
