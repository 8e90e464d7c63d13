//! Learning curves as a picture: SVG, since its text stays crisp and every browser opens it.

use std::fmt::Write;

use modiolus_pipeline::job::train::EpochMetrics;

/// The picture's size, and the place of a panel in it, in SVG units (pixels).
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
const PANEL: (f64, f64) = (390.0, 250.0);

/// One curve: its name, its colour, its value at each epoch.
struct Line {
    name: &'static str,
    colour: &'static str,
    values: Vec<f64>,
}

/// The learning curves of a training: the losses on the left, IoU and Dice on the right, over the epochs. Values that are no number
/// leave a gap.
pub fn curves_svg(epochs: &[EpochMetrics]) -> String {
    let judged = if epochs.last().is_some_and(|epoch| epoch.held_out) {
        "held-out pictures"
    } else {
        "training pictures"
    };
    let line = |name, colour, value: fn(&EpochMetrics) -> f64| Line {
        name,
        colour,
        values: epochs.iter().map(value).collect(),
    };
    let losses = [
        line("while training", "#0072b2", |epoch| epoch.loss),
        line("afterwards, on the judging pictures", "#d55e00", |epoch| epoch.judged_loss),
    ];
    let overlaps = [line("IoU", "#0072b2", |epoch| epoch.iou), line("Dice", "#009e73", |epoch| epoch.dice)];
    let numbers: Vec<f64> = epochs.iter().map(|epoch| f64::from(epoch.epoch)).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    let highest = losses
        .iter()
        .flat_map(|line| &line.values)
        .copied()
        .filter(|loss| loss.is_finite())
        .fold(0.0, f64::max);
    panel(&mut svg, 60.0, "Loss", &numbers, &losses, if highest > 0.0 { highest } else { 1.0 });
    panel(&mut svg, 540.0, &format!("Overlap with the truth, {judged}"), &numbers, &overlaps, 1.0);
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, left: f64, title: &str, epochs: &[f64], lines: &[Line], highest: f64) {
    let (top, (width, height)) = (40.0, PANEL);
    let (first, last) = (epochs.first().copied().unwrap_or(1.0), epochs.last().copied().unwrap_or(1.0));
    let x = |epoch: f64| left + width * (epoch - first) / (last - first).max(1.0);
    let y = |value: f64| top + height * (1.0 - value / highest);
    let mut add = |text: String| svg.extend([text.as_str(), "\n"]);
    add(format!("<text x=\"{left}\" y=\"24\" font-size=\"14\" font-weight=\"bold\">{title}</text>"));
    for tick in ticks(0.0, highest) {
        let (at, end) = (y(tick), left + width);
        add(format!("<path d=\"M{left} {at:.1}H{end}\" stroke=\"#ddd\"/>"));
        add(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>", left - 6.0, at + 4.0));
    }
    for tick in ticks(first, last).into_iter().filter(|tick| tick.fract() == 0.0) {
        add(format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            x(tick),
            top + height + 18.0
        ));
    }
    add(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">epoch</text>",
        left + width / 2.0,
        top + height + 36.0
    ));
    for (i, line) in lines.iter().enumerate() {
        let (colour, path) = (line.colour, path(epochs, &line.values, x, y));
        // Round ends make a point of a single epoch.
        add(format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linecap=\"round\"/>"
        ));
        let (from, at) = (left + 130.0 * i as f64, top + height + 54.0);
        add(format!("<path d=\"M{from} {}h16\" stroke=\"{colour}\" stroke-width=\"3\"/>", at - 4.0));
        add(format!("<text x=\"{}\" y=\"{at}\">{}</text>", from + 22.0, line.name));
    }
}

/// A line through the values, broken where one is no number.
fn path(epochs: &[f64], values: &[f64], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for run in epochs.iter().zip(values).collect::<Vec<_>>().split(|(_, value)| !value.is_finite()) {
        for (i, &(&epoch, &value)) in run.iter().enumerate() {
            let command = if i == 0 { "M" } else { "L" };
            // Writing to a string never fails. A line back to its own start makes a run of one visible.
            let _ = write!(path, "{command}{:.1} {:.1}", x(epoch), y(value));
            if run.len() == 1 {
                path.push_str("h0");
            }
        }
    }
    path
}

/// About five round numbers from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    if high <= low {
        return vec![low];
    }
    let rough = (high - low) / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * decade).find(|&step| step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).ceil(), (high / step * 1.000_001).floor());
    let digits = (-step.log10()).ceil().clamp(0.0, 12.0);
    // Rounded, so that 3 * 0.1 is written 0.3.
    let round = |tick: f64| (tick * 10_f64.powf(digits)).round() / 10_f64.powf(digits);
    (0..=((last - first).clamp(0.0, 20.0) as usize)).map(|i| round((first + i as f64) * step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(losses: &[f64]) -> Vec<EpochMetrics> {
        let epoch = |(i, &loss): (usize, &f64)| EpochMetrics {
            epoch: i as u32 + 1,
            epochs: losses.len() as u32,
            loss,
            judged_loss: loss * 1.2,
            iou: 1.0 - loss,
            dice: 1.0 - loss / 2.0,
            held_out: true,
        };
        losses.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(1.0, 12.0), [5.0, 10.0]);
        assert_eq!(ticks(0.0, 0.73), [0.0, 0.2, 0.4, 0.6]);
        assert_eq!(ticks(1.0, 1.0), [1.0]);
    }

    #[test]
    fn the_first_and_last_epoch_stand_at_the_ends_and_the_values_at_their_height() {
        let svg = curves_svg(&epochs(&[0.5, 0.25, 0.0]));
        // IoU 0.5, 0.75, 1.0 on the right panel: 40 is its top, 290 its bottom.
        assert!(svg.contains("M540.0 165.0L735.0 102.5L930.0 40.0"), "{svg}");
        assert!(svg.contains("held-out pictures") && svg.contains(">Dice<") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn gaps_single_epochs_and_none_at_all_are_drawn() {
        let svg = curves_svg(&epochs(&[0.5, f64::NAN, 0.25]));
        assert!(svg.contains("h0M") && !svg.contains("NaN"), "{svg}");
        assert!(!curves_svg(&epochs(&[f64::INFINITY])).contains("inf"));
        assert!(curves_svg(&[]).contains("epoch"));
    }
}
