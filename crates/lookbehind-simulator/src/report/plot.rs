//! Misses over budget, a line for each policy.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Report;
use crate::policies::Policy;

const SIZE: (u32, u32) = (900, 480);
/// Of it, what the names take.
const NAMES: u32 = 160;
const FONT: &str = "sans-serif";

/// An SVG.
///
/// # Errors
/// If something cannot be drawn.
pub fn plot(report: &Report) -> Result<String, Box<dyn Error>> {
    let mut image = String::new();
    {
        let area = SVGBackend::with_string(&mut image, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        draw(report, &area).map_err(|error| error.to_string())?;
        area.present()?;
    }
    Ok(image)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(report: &Report, area: &Area) -> Result<(), Box<dyn Error>> {
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max).max(1e-3) * 1.05;
    let budgets = most(&mut report.rows.iter().map(|row| row.budget_percent));
    let misses = most(&mut report.rows.iter().map(|row| row.score.misses as f64));
    let (left, names) = area.split_horizontally(SIZE.0 - NAMES);
    let title = format!("{}: misses over budget", report.measure.name);
    let mut chart = ChartBuilder::on(&left)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..budgets, 0.0..misses)?;
    let tenths = |value: &f64| format!("{}", (value * 10.0).round() / 10.0);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("budget, % of what is touched")
        .y_desc("misses")
        .x_label_formatter(&tenths)
        .y_label_formatter(&|misses| format!("{misses:.0}"))
        .draw()?;
    let style = (FONT, 13).into_font().into_text_style(area);
    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
    let policies = Policy::all().enumerate();
    let asked = |policy| report.rows.iter().any(|row| row.policy == policy);
    for (line, (index, policy)) in policies.filter(|(_, policy)| asked(*policy)).enumerate() {
        // A policy has its colour, whichever others there are.
        let stroke = Palette99::pick(index).stroke_width(2);
        let rows = report.rows.iter().filter(|row| row.policy == policy);
        let mut points: Vec<(f64, f64)> =
            rows.map(|row| (row.budget_percent, row.score.misses as f64)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, stroke.filled())))?;
        chart.draw_series(LineSeries::new(points, stroke))?;
        let at = 44 + 17 * line as i32;
        names.draw(&PathElement::new([(4, at), (24, at)], stroke))?;
        names.draw_text(policy.name(), &style, (30, at))?;
    }
    Ok(())
}
