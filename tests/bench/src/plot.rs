//! A bar chart, as SVG: how many times as much others take as weir does.

use std::fmt::Write as _;

use crate::finding::{Finding, short};

const WIDTH: f64 = 900.0;
const LABEL: f64 = 330.0;
const ROW: f64 = 20.0;
const TOP: f64 = 56.0;

/// Returns the chart: a bar for each peer of each case, on a logarithmic axis, green where ours takes
/// less.
pub(crate) fn chart(findings: &[Finding]) -> String {
    let bars: Vec<_> = findings
        .iter()
        .flat_map(|finding| {
            let bar = |peer: &crate::finding::Peer| {
                let ratio = peer.ratio?.median;
                (ratio.is_finite() && ratio > 0.0).then(|| (finding.case.as_str(), peer.name.clone(), ratio))
            };
            finding.peers.iter().filter_map(bar).collect::<Vec<_>>()
        })
        .collect();
    let decades = bars.iter().map(|(_, _, ratio)| ratio.log10().ceil()).fold(1.0, f64::max);
    // One decade to the left, for those who take less than ours.
    let scale = (WIDTH - LABEL - 70.0) / (decades + 1.0);
    let at = |ratio: f64| LABEL + (ratio.max(0.1).log10() + 1.0) * scale;
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let height = TOP + ROW * bars.len() as f64 + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"15\">How many times as much others take as weir does</text>\n"
    );
    let mut decade = -1.0;
    while decade <= decades {
        let (x, label) = (at(10f64.powf(decade)), short(10f64.powf(decade)));
        let dark = if decade == 0.0 { "#444" } else { "#ddd" };
        _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{dark}\"/>",
            TOP - 8.0,
            height - 12.0
        );
        _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{label}×</text>",
            TOP - 12.0
        );
        decade += 1.0;
    }
    let mut y = TOP;
    for (case, peer, ratio) in bars {
        let (one, end) = (at(1.0), at(ratio));
        let colour = if ratio >= 1.0 { "#2a7f4f" } else { "#b5482a" };
        let (x, width) = (one.min(end), (end - one).abs().max(1.0));
        let (middle, behind) = (y + ROW / 2.0 + 4.0, one.max(end) + 5.0);
        let label = escape(&format!("{case} · {peer}"));
        _ = writeln!(svg, "<text x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{label}</text>", LABEL - 8.0);
        _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            y + 3.0,
            ROW - 6.0
        );
        _ = writeln!(svg, "<text x=\"{behind:.1}\" y=\"{middle:.1}\">{}×</text>", short(ratio));
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_ratio_says() {
        let findings = [
            Finding::value("a", "ns", 10.0).beside("<slow>", Ok(1000.0)).beside("fast", Ok(5.0)),
            Finding::value("b", "ns", 10.0).beside("missing", Err("it is not here".to_owned())),
        ];
        let svg = chart(&findings);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<rect ").count(), 3, "a background and two bars");
        assert!(svg.contains("a · &lt;slow&gt;") && svg.contains(">100×<") && svg.contains(">0.50×<"));
        assert!(!svg.contains("missing") && svg.contains("#b5482a"));
    }

    #[test]
    fn nothing_found_is_an_empty_chart() {
        assert!(chart(&[]).ends_with("</svg>\n"));
    }
}
