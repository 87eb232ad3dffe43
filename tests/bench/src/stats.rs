//! Medians and quartiles.

/// Returns the value below which a part `part` (0 to 1) of the values lies, between two of them
/// where it has to be. Not a number where there are none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "few values"
)]
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = part.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Returns the value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the smallest value.
pub(crate) fn least(values: &[f64]) -> f64 {
    quantile(values, 0.0)
}

/// What repeated measurements say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The smallest.
    pub(crate) least: f64,
    /// A quarter is smaller.
    pub(crate) lower: f64,
    /// Half are smaller.
    pub(crate) median: f64,
    /// A quarter is larger.
    pub(crate) upper: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        Self {
            least: least(values),
            lower: quantile(values, 0.25),
            median: median(values),
            upper: quantile(values, 0.75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn quantiles_lie_between_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert!(close(median(&values), 2.5));
        assert!(close(quantile(&values, 0.25), 1.75));
        assert!(close(least(&values), 1.0) && close(quantile(&values, 1.0), 4.0));
        assert!(close(median(&[7.0]), 7.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn one_bad_round_does_not_move_the_middle() {
        let mut values = [10.0; 15];
        values[3] = 1e9;
        let spread = Spread::of(&values);
        assert!(close(spread.median, 10.0) && close(spread.lower, 10.0) && close(spread.upper, 10.0));
    }
}
